import sys

import pytest

from benchmarks import detector, masks
from benchmarks.runner import Shape
from tests.benchmarks.helpers import read_csv

SMALL = ['--device', 'cpu', '--threads', '1', '--shape', '1x128x192', '--scale', '1x64x96']


def test_a_step_and_the_encoding_are_measured(tmp_path, capsys, monkeypatch):
    pytest.importorskip('mmdet')
    monkeypatch.setattr(masks, 'measure_apart', masks.measure)  # another process needs 15 s to import everything
    out = tmp_path / 'masks.csv'
    masks.main([*SMALL, '--models', 'mask-rcnn', '--out', str(out)])
    (row,) = read_csv(out)
    assert row['model'] == 'Mask R-CNN, ResNet-50' and 0 < int(row['instances']) <= 100
    base, step, peak = (int(row[f'{moment}_bytes']) for moment in ('base', 'step', 'peak'))
    assert 1e8 < base <= step <= peak < base + 2e9  # the base has what other tests in this process held at most
    assert float(row['step_seconds']) > 0 < float(row['encode_seconds'])
    assert 'Test step and encoding of masks: 1x128x192, cpu' in capsys.readouterr().out


def test_pictures_are_as_large_as_the_test_pipeline_makes_them():
    pytest.importorskip('mmdet')
    batch = masks.make_batch(Shape(1, 2048, 2448), Shape(1, 800, 1333))
    assert [tuple(picture.shape) for picture in batch['inputs']] == [(3, 800, 956)]
    meta = batch['data_samples'][0]
    assert (meta.img_shape, meta.ori_shape) == ((800, 956), (2048, 2448))


@pytest.mark.parametrize('plain', [False, True], ids=['ours', "MMDetection's"])
def test_mask2former_keeps_a_hundred_instances_of_two_classes(plain):
    pytest.importorskip('mmdet')
    detector.prepare_mmdet()
    model = masks.read_model('mask2former', plain)
    fusion = model.panoptic_fusion_head
    assert fusion.type == ('MaskFormerFusionHead' if plain else 'ChunkedMaskFormerFusionHead')
    assert (model.panoptic_head.num_things_classes, fusion.num_things_classes, fusion.num_stuff_classes) == (2, 2, 0)
    assert model.test_cfg.max_per_image == 100 and not model.test_cfg.panoptic_on
    assert model.backbone.embed_dims == 128


def test_without_mmdetection_it_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, 'damamba.register', None)
    with pytest.raises(SystemExit, match='this benchmark needs MMDetection, which can not be imported'):
        masks.main(SMALL)
