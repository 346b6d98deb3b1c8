"""What is written is trained on for one iteration, by the config that the command prints, with a tiny detector."""

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

import damamba.register  # noqa: F401
from damamba.cli.convert_data import config_of
from damamba.datasets.conversion import Options, convert
from tests.datasets.conversion.sources import BOX, MASKS, SIZE, SOURCES, write_pictures, write_text
from tests.datasets.conversion.test_coco_exports import NAMES, cvat, label_studio
from tests.datasets.conversion.test_label_pngs import classes_csv, write_source
from tests.detection import write_config

TWO_CLASSES = "for head in ('bbox_head', 'mask_head'):\n    model['roi_head'][head]['num_classes'] = 2\n"


def label_studio_with_pictures(folder):
    write_pictures(folder / 'images')
    label_studio(folder, [f'images/{it}' for it in NAMES])


def label_png(folder):
    write_text(write_source(folder, (1, 2, 3)) / 'class_map.csv', classes_csv((1, 2, 3)))


EXPORTS = {'cvat': cvat, 'label-studio': label_studio_with_pictures, 'label-png': label_png}


@pytest.fixture(scope='module')
def detector(tmp_path_factory):
    """One for two classes, and how it is trained."""
    path = write_config(tmp_path_factory.mktemp('config') / 'small.py', 'data', extra=TWO_CLASSES)
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(path).model)
    return model, OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-3))


@pytest.mark.parametrize('name', [*SOURCES, *EXPORTS])
def test_a_converted_set_is_trained_on(name, tmp_path, detector):
    (SOURCES | EXPORTS)[name](tmp_path / 'source')
    done = convert(tmp_path / 'source', tmp_path / 'coco', options=Options(boxes_as_masks=True))
    small = write_config(tmp_path / 'small.py', tmp_path / 'coco')
    first, *lines = config_of(done, tmp_path / 'coco').splitlines()
    assert first == "_base_ = './mask_rcnn_DAMamba_tiny_fpn_1x_coco.py'"
    (tmp_path / 'mine.py').write_text('\n'.join([f'_base_ = {str(small)!r}', *lines]))
    cfg = Config.fromfile(tmp_path / 'mine.py')
    assert cfg.model.roi_head.mask_head.num_classes == cfg.model.roi_head.bbox_head.num_classes == 2
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    samples = {sample['data_samples'].img_path.rsplit('/')[-1]: sample['data_samples'] for sample in loader.dataset}
    x, y, width, height = BOX
    box = np.zeros(SIZE[::-1], bool)
    box[y : y + height, x : x + width] = True
    for picture, truth in {**MASKS, 'b.jpg': [('dog', box)]}.items():
        instances = samples[picture].gt_instances  # at twice the size
        assert [done.categories[label] for label in instances.labels] == [name for name, _ in truth]
        masks = np.kron(np.stack([mask for _, mask in truth]), np.ones((2, 2), bool))
        np.testing.assert_array_equal(instances.masks.masks, masks)
    model, wrapper = detector
    before = model.roi_head.mask_head.conv_logits.weight.clone()
    losses = model.train_step(next(iter(loader)), wrapper)
    assert all(value.isfinite() for value in losses.values()) and losses['loss_mask'] > 0
    assert not torch.equal(model.roi_head.mask_head.conv_logits.weight, before)
