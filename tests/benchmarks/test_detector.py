import sys
from itertools import product

import pytest

from benchmarks import detector
from benchmarks.runner import Shape
from tests.benchmarks.helpers import read_csv


@pytest.fixture
def narrow(monkeypatch):
    """Fewer proposals: most of a small picture's time would go into them."""
    read_model = detector.read_model

    def read(name):
        model = read_model(name)
        model.train_cfg.rpn_proposal.max_per_img = model.test_cfg.rpn.max_per_img = 20
        model.train_cfg.rcnn.sampler.num = 16
        return model

    monkeypatch.setattr(detector, 'read_model', read)


def test_an_iteration_and_a_test_image_are_timed(tmp_path, capsys, narrow):
    pytest.importorskip('mmdet')
    out = tmp_path / 'detector.csv'
    common = ['--device', 'cpu', '--threads', '1', '--repeat', '1', '--out', str(out)]
    detector.main([*common, '--shape', '1x64x96', '--dtypes', 'fp32', '--models', 'damamba', 'swin'])
    rows = {(row['measure'], row['model']): row for row in read_csv(out)}
    assert set(rows) == set(product(('train', 'test'), ('DAMamba-T', 'Swin-T')))
    assert all(float(row['median']) > 0 and row['unit'] == 'ms' and not row['note'] for row in rows.values())
    assert float(rows['train', 'Swin-T']['ratio']) == 1
    assert 'Training iteration, Mask R-CNN' in capsys.readouterr().out


def test_objects_with_masks_are_found_in_a_test_image(narrow):
    pytest.importorskip('mmdet')
    detector.prepare_mmdet()
    model = detector.build_detector('damamba', 'cpu')
    found = detector.test_step(model, detector.make_batch(Shape(1, 64, 96)), 'fp32', 'cpu')()[0].pred_instances
    assert 0 < len(found) <= 20 and found.masks.shape[1:] == (64, 96) and set(found.labels.tolist()) == {0}


def test_boxes_lie_in_the_picture_and_fill_their_masks():
    pytest.importorskip('mmdet')
    sample = detector.make_batch(Shape(2, 60, 90))['data_samples'][1].gt_instances
    assert len(sample) == detector.OBJECTS
    for (left, top, right, bottom), mask in zip(sample.bboxes.long().tolist(), sample.masks.masks, strict=True):
        assert 0 <= left < right <= 90 and 0 <= top < bottom <= 60
        assert mask.sum() == (right - left) * (bottom - top) == mask[top:bottom, left:right].sum()


def test_without_mmdetection_it_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, 'damamba.register', None)
    with pytest.raises(SystemExit, match='this benchmark needs MMDetection, which can not be imported'):
        detector.main(['--device', 'cpu', '--threads', '1'])
