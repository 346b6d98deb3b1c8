"""The configs under configs/mask2former, held against those that MMDetection ships."""

import pytest
from mmengine.hub import get_config

import damamba.register  # noqa: F401
from damamba.engine.config import read_config
from tests.detection import ROOT

FOLDER = ROOT / 'configs' / 'mask2former'
PUBLISHED = {  # instances of T and S, things and stuff of B and L
    't': 'mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco',
    's': 'mask2former_swin-s-p4-w7-224_8xb2-lsj-50e_coco',
    'b': 'mask2former_swin-b-p4-w12-384_8xb2-lsj-50e_coco-panoptic',
    'l': 'mask2former_swin-l-p4-w12-384-in21k_16xb1-lsj-100e_coco-panoptic',
}
OF_CLASSES = ('num_things_classes', 'num_stuff_classes', 'loss_cls')


def test_there_is_one_for_each_size():
    assert {path.stem for path in FOLDER.glob('*.py')} == {f'mask2former_swin-{size}_coco' for size in PUBLISHED}


@pytest.mark.parametrize('size', PUBLISHED)
def test_the_model_and_its_recipe_are_mmdetections(size):
    own = read_config(str(FOLDER / f'mask2former_swin-{size}_coco.py'))
    other, instances = (get_config(f'mmdet::mask2former/{PUBLISHED[one]}.py') for one in (size, 't'))
    assert own.model.backbone == other.model.backbone
    for part in ('panoptic_head', 'panoptic_fusion_head', 'test_cfg', 'data_preprocessor'):
        wanted = (other if part == 'panoptic_head' else instances).model[part].to_dict()
        wanted |= {name: instances.model[part][name] for name in OF_CLASSES if name in wanted}
        assert own.model[part] == wanted | ({'type': 'ChunkedMaskFormerFusionHead'} if 'fusion' in part else {})
    for part in ('optim_wrapper', 'param_scheduler', 'train_cfg'):
        settings = own[part].to_dict()
        settings.pop('_scope_', None)  # MMEngine's note that it is MMDetection's
        assert settings == other[part]
    assert own.train_dataloader.batch_size == other.train_dataloader.batch_size
    for part in ('train', 'test'):
        pipeline = own[f'{part}_dataloader'].dataset.pipeline
        assert pipeline == instances[f'{part}_dataloader'].dataset.pipeline
