"""A detector loaded in Python finds what the test command finds, fused or not."""

import cv2
import pytest
import torch
from mmengine.config import Config
from torch.nn.modules.batchnorm import _BatchNorm

from damamba.checkpoint import CheckpointError
from damamba.engine.config_checks import ConfigError
from damamba.inference import inference_detector, init_detector
from tests.inference.helpers import CLASSES


def test_a_fused_detector_finds_what_the_plain_one_finds(small_config, checkpoint, coco):
    picture = str(sorted((coco / 'val2017').iterdir())[0])
    fused, plain = (init_detector(small_config, checkpoint, 'cpu', fuse=fuse) for fuse in (True, False))
    assert not any(isinstance(m, _BatchNorm) for m in fused.backbone.modules())
    assert any(isinstance(m, _BatchNorm) for m in plain.backbone.modules())
    found, truth = (inference_detector(model, picture).pred_instances for model in (fused, plain))
    assert len(truth) == 5
    assert (found.scores - truth.scores).abs().max() < 1e-5  # probabilities
    assert (found.bboxes - truth.bboxes).abs().max() < 1e-2  # pixels
    assert torch.equal(found.labels, truth.labels)
    assert (found.masks == truth.masks).float().mean() > 0.999


def test_the_checkpoint_names_the_classes_and_several_pictures_will_do(small_config, checkpoint, coco):
    model = init_detector(Config.fromfile(small_config), str(checkpoint), 'cpu')
    assert model.dataset_meta['classes'] == CLASSES
    assert not model.training
    pictures = [str(path) for path in sorted((coco / 'val2017').iterdir())]
    assert [len(result.pred_instances) for result in inference_detector(model, pictures)] == [5] * 3


def test_paths_and_arrays_may_come_in_any_order(small_config, checkpoint, coco):
    model = init_detector(small_config, checkpoint, 'cpu')
    before = model.cfg.pretty_text
    paths = [str(path) for path in sorted((coco / 'val2017').iterdir())]
    arrays = [cv2.imread(path) for path in paths]
    truths = inference_detector(model, paths)
    mixed = [inference_detector(model, arrays[0]), *inference_detector(model, [paths[1], arrays[2]])]
    mixed += [inference_detector(model, paths[0]), *inference_detector(model, (arrays[1], paths[2]))]
    for found, truth in zip(mixed, truths * 2, strict=True):
        assert torch.equal(found.pred_instances.bboxes, truth.pred_instances.bboxes)
    assert model.cfg.pretty_text == before


def test_options_override_the_config_and_leave_it_alone(small_config, checkpoint):
    cfg = Config.fromfile(small_config)
    model = init_detector(cfg, checkpoint, 'cpu', cfg_options={'model.test_cfg.rcnn.max_per_img': 2})
    assert model.roi_head.test_cfg.max_per_img == 2
    assert cfg.model.test_cfg.rcnn.max_per_img == 5


def test_a_config_is_left_as_it_is_and_warnings_are_shown(small_config, checkpoint):
    cfg = Config.fromfile(small_config)
    weights = dict(type='Pretrained', checkpoint='elsewhere.pth')
    cfg.merge_from_dict({'model.backbone.init_cfg': weights, 'model.backbone.img_size': 224})
    with pytest.warns(UserWarning, match='img_size have no effect'):
        init_detector(cfg, checkpoint, 'cpu')
    assert cfg.model.backbone.init_cfg == weights


def test_weights_that_do_not_fill_the_detector_are_refused(small_config, checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    del content['state_dict']['neck.lateral_convs.0.conv.weight']
    torch.save(content, tmp_path / 'half.pth')
    with pytest.raises(CheckpointError, match=r'half.pth holds a DAMamba .* neck.lateral_convs.0.conv.weight'):
        init_detector(small_config, tmp_path / 'half.pth', 'cpu')


def test_a_config_that_is_not_there_is_refused(checkpoint):
    with pytest.raises(ConfigError, match=r'nowhere.py does not exist'):
        init_detector('nowhere.py', checkpoint)
