"""Mask R-CNN of our configs and torchvision's, with the same weights: the same detections, from the same pixels."""

import copy
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS, TASK_UTILS, TRANSFORMS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import PolygonMasks
from mmdet.utils import get_test_pipeline_cfg
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose
from mmengine.structures import InstanceData
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.faster_rcnn import _default_anchorgen
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import paste_masks_in_image

import damamba.register  # noqa: F401
from damamba import detection, torchvision_detection
from damamba.checkpoint.conversion import Converted, convert, restore
from damamba.torchvision_detection import RoundedAnchorGenerator, TorchvisionMaskHead, TorchvisionPreprocessor
from tests.torchvision_models import LIMITS, ROOT, SIZES, build, detect, drawn, finding, fine_tuned, narrowed, ours

OTHER = ('nut', 'bolt', 'washer')


def converted(version: int, rows: int) -> tuple:
    """torchvision's detector and its weights in ours."""
    theirs = finding(version) if rows == 91 else fine_tuned(version, rows)
    return theirs, convert(theirs.state_dict(), classes=OTHER if rows == 4 else None)


def sample_of(picture: np.ndarray) -> DetDataSample:
    return DetDataSample(metainfo=dict(ori_shape=picture.shape[:2], img_shape=picture.shape[:2]))


def found_by(model: torch.nn.Module, pictures: list[np.ndarray]) -> list[InstanceData]:
    inputs = [torch.from_numpy(it).permute(2, 0, 1) for it in pictures]
    with torch.no_grad():
        results = model.test_step(dict(inputs=inputs, data_samples=[sample_of(it) for it in pictures]))
    return [it.pred_instances for it in results]


def assert_same(theirs: dict, found: InstanceData, given: Converted) -> None:
    """Boxes within 0.05 pixels, scores within 1e-4, masks of an IoU of 0.999; and something to be wrong about."""
    assert len(found) == len(theirs['scores']) >= 8
    assert torch.equal(torch.tensor(given.rows)[found.labels], theirs['labels'])
    torch.testing.assert_close(found.bboxes, theirs['boxes'], rtol=0, atol=0.05)
    torch.testing.assert_close(found.scores, theirs['scores'], rtol=0, atol=1e-4)
    masks = theirs['masks'][:, 0] >= 0.5
    both, either = (found.masks & masks).sum((1, 2)), (found.masks | masks).sum((1, 2))
    assert (either > 0).sum() >= 8
    assert (both >= 0.999 * either).all()


@pytest.mark.parity
@pytest.mark.parametrize(('version', 'rows'), [(1, 91), (2, 91), (1, 3), (2, 4)])
def test_detections_are_torchvisions(version, rows):
    theirs, given = converted(version, rows)
    pictures = [drawn(3), drawn(4, 200, 130)][: 3 - version]  # of two sizes, in one batch
    found = found_by(ours(given), pictures)
    for truth, result in zip(detect(theirs, pictures), found, strict=True):
        assert_same(truth, result, given)


@pytest.mark.parity
@pytest.mark.parametrize(('version', 'rows', 'picture'), [(1, 3, 'drawn'), (1, 3, 'photograph'), (2, 91, 'photograph')])
def test_detections_are_torchvisions_through_the_configs_own_pipeline(version, rows, picture, request, tmp_path):
    theirs, given = converted(version, rows)
    if picture == 'drawn':
        path = tmp_path / 'drawn.png'
        cv2.imwrite(str(path), drawn(7, 240, 170))
    else:
        folder = request.getfixturevalue('shared') / 'data' / 'coco_tiny' / 'val2017'
        path = sorted(folder.glob('*.jpg'))[version]
    steps = get_test_pipeline_cfg(Config.fromfile(ROOT / given.config))
    pipeline = Compose([TRANSFORMS.build(step) for step in steps if step['type'] != 'LoadAnnotations'])
    prepared = pipeline(dict(img_path=str(path), img_id=1))
    with torch.no_grad():
        (result,) = ours(given).test_step({key: [value] for key, value in prepared.items()})
    assert_same(detect(theirs, [cv2.imread(str(path))])[0], result.pred_instances, given)


@pytest.mark.parity
def test_a_changed_detector_of_ours_finds_the_same_under_torchvisions_names():
    _, given = converted(1, 3)
    model, pictures = ours(given), [drawn(5)]
    with torch.no_grad():
        for value in model.parameters():
            value *= 1 + 0.01 * torch.randn_like(value)  # as if it had been fine-tuned
    back = restore(model.state_dict(), given.classes)
    theirs = build(1, 3, **SIZES, **LIMITS)
    theirs.load_state_dict(back.state, strict=True)
    assert back.classes == ('Tote', 'Object') and back.rows == (2, 1)
    assert_same(detect(theirs, pictures)[0], found_by(model, pictures)[0], given)


# What the configs set, and what torchvision's models have where nothing is said


def set_by(model: ConfigDict) -> dict:
    """The numbers of a config that change what is found or learned, by torchvision's names."""
    rpn, roi, train, test, data = (
        model[key] for key in ('rpn_head', 'roi_head', 'train_cfg', 'test_cfg', 'data_preprocessor')
    )
    anchors = rpn.anchor_generator
    found = {
        'sizes of pictures': ((data.min_size,), data.max_size, data.pad_size_divisor),
        'anchors': [[scale * stride for scale in anchors.scales] for stride in anchors.strides],
        'ratios': [list(anchors.ratios)] * len(anchors.strides),
        'pre_nms_top_n': {'training': train.rpn_proposal.nms_pre, 'testing': test.rpn.nms_pre},
        'post_nms_top_n': {'training': train.rpn_proposal.max_per_img, 'testing': test.rpn.max_per_img},
        'proposals': [(it.nms.iou_threshold, it.min_bbox_size) for it in (train.rpn_proposal, test.rpn)],
        'detections': (test.rcnn.score_thr, test.rcnn.nms.iou_threshold, test.rcnn.max_per_img),
    }
    for part, own, coder in (('rpn', train.rpn, rpn.bbox_coder), ('roi', train.rcnn, roi.bbox_head.bbox_coder)):
        assigner, sampler = own.assigner, own.sampler
        found[f'{part} matches'] = (assigner.pos_iou_thr, assigner.neg_iou_thr, assigner.match_low_quality)
        found[f'{part} samples'] = (sampler.num, sampler.pos_fraction)
        found[f'{part} coder'] = pytest.approx([1 / it for it in coder.target_stds])
    for part in ('bbox', 'mask'):
        layer = roi[f'{part}_roi_extractor'].roi_layer
        found[f'{part} pooled'] = ((layer.output_size,) * 2, layer.sampling_ratio)
    return found


def defaults_of(model: MaskRCNN) -> dict:
    """The same of one of torchvision's models."""
    data, rpn, roi = model.transform, model.rpn, model.roi_heads
    found = {
        'sizes of pictures': (data.min_size, data.max_size, data.size_divisible),
        'anchors': [list(it) for it in rpn.anchor_generator.sizes],
        'ratios': [list(it) for it in rpn.anchor_generator.aspect_ratios],
        'pre_nms_top_n': rpn._pre_nms_top_n,
        'post_nms_top_n': rpn._post_nms_top_n,
        'proposals': [(rpn.nms_thresh, rpn.min_size)] * 2,
        'detections': (roi.score_thresh, roi.nms_thresh, roi.detections_per_img),
    }
    for part, own in (('rpn', rpn), ('roi', roi)):
        matcher, sampler = own.proposal_matcher, own.fg_bg_sampler
        found[f'{part} matches'] = (matcher.high_threshold, matcher.low_threshold, matcher.allow_low_quality_matches)
        found[f'{part} samples'] = (sampler.batch_size_per_image, sampler.positive_fraction)
        found[f'{part} coder'] = list(own.box_coder.weights)
    for part, pool in (('bbox', roi.box_roi_pool), ('mask', roi.mask_roi_pool)):
        found[f'{part} pooled'] = (pool.output_size, pool.sampling_ratio)
    return found


@pytest.mark.parametrize(
    ('config', 'builder'),
    [
        ('torchvision/mask_rcnn_r50_fpn_coco', maskrcnn_resnet50_fpn),
        ('torchvision/mask_rcnn_r50_fpn_v2_coco', maskrcnn_resnet50_fpn_v2),
        ('armbench/mask_rcnn_r50_fpn_torchvision_armbench', maskrcnn_resnet50_fpn),
    ],
)
def test_the_configs_have_the_numbers_of_torchvisions_models(config, builder):
    with torch.device('meta'):
        theirs = builder(weights=None, weights_backbone=None)
    model = Config.fromfile(ROOT / 'configs' / f'{config}.py').model
    assert defaults_of(theirs) == set_by(model)
    preprocessor = MODELS.build(model.data_preprocessor)
    for own, other in (('mean', 'image_mean'), ('std', 'image_std')):
        wanted = 255 * torch.tensor(getattr(theirs.transform, other))
        torch.testing.assert_close(getattr(preprocessor, own).flatten(), wanted, rtol=1e-4, atol=0)


# Parts


def test_pictures_and_their_objects_are_resized_as_torchvision_resizes():
    pictures = [drawn(1, 2048, 2448), drawn(2, 300, 1000)]  # the shorter side decides, and the longer
    theirs = build(1, 3).transform
    boxes = torch.tensor([[10.0, 20, 110, 90]])
    tensors = [torch.from_numpy(it[..., ::-1].copy()).permute(2, 0, 1).float() / 255 for it in pictures]
    batch, targets = theirs(tensors, [dict(boxes=boxes)] * 2)
    samples = [sample_of(it) for it in pictures]
    for sample, picture in zip(samples, pictures, strict=True):
        masks = PolygonMasks([[np.array([10.0, 20, 110, 20, 110, 90])]], *picture.shape[:2])
        sample.gt_instances = InstanceData(bboxes=boxes.clone(), masks=masks)
    inputs = [torch.from_numpy(it).permute(2, 0, 1) for it in pictures]
    data = TorchvisionPreprocessor()(dict(inputs=inputs, data_samples=samples), training=True)
    assert torch.equal(data['inputs'], batch.tensors)
    for sample, size, target in zip(data['data_samples'], batch.image_sizes, targets, strict=True):
        assert sample.img_shape == tuple(size)
        assert sample.batch_input_shape == tuple(batch.tensors.shape[-2:])
        objects = sample.gt_instances
        torch.testing.assert_close(objects.bboxes, target['boxes'], rtol=0, atol=1e-4)
        assert (objects.masks.height, objects.masks.width) == tuple(size)
        corner = objects.masks.masks[0][0][2:4]
        torch.testing.assert_close(torch.tensor(corner), target['boxes'][0, [2, 1]].double(), rtol=0, atol=1e-3)


@pytest.mark.parametrize('size', [(800, 1088), (96, 64), (160, 416)])
def test_anchors_are_torchvisions(size):
    maps = [(size[0] // stride, size[1] // stride) for stride in (4, 8, 16, 32)]
    maps.append(tuple(-(-side // 2) for side in maps[-1]))
    pictures = ImageList(torch.zeros(1, 3, *size), [size])
    (truth,) = _default_anchorgen()(pictures, [torch.zeros(1, 1, *it) for it in maps])
    ours = RoundedAnchorGenerator(strides=[4, 8, 16, 32, 64], ratios=[0.5, 1.0, 2.0], scales=[8])
    assert torch.equal(torch.cat(ours.grid_priors(maps, device='cpu')), truth)


def test_boxes_are_refined_as_torchvision_refines_them_however_far():
    model = Config.fromfile(ROOT / 'configs/torchvision/mask_rcnn_r50_fpn_coco.py').model
    boxes = torch.tensor([[10.0, 20, 200, 90], [300, 5, 420, 400], [0, 0, 1300, 800]])
    deltas = torch.tensor([[40.0, -9, 60, -60], [0.3, 0.2, -25, 1], [-900, 2, 0, 30]])  # beyond both of mmdet's bounds
    heads = ((model.roi_head.bbox_head, (10.0, 10.0, 5.0, 5.0)), (model.rpn_head, (1.0, 1.0, 1.0, 1.0)))
    for head, weights in heads:
        found = TASK_UTILS.build(head.bbox_coder).decode(boxes, deltas)
        torch.testing.assert_close(found, BoxCoder(weights).decode_single(deltas, boxes), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize('rescale', [True, False], ids=['rescaled', 'as tested'])
def test_masks_are_pasted_as_torchvision_pastes_them(monkeypatch, rescale):
    monkeypatch.setattr(detection, 'CHUNK', 3 * 12 * 90 * 120)
    monkeypatch.setattr(torchvision_detection, 'paste_masks_in_image', paste := Mock(wraps=paste_masks_in_image))
    maps, labels = 3 * torch.randn(7, 4, 28, 28), torch.tensor([0, 3, 1, 2, 2, 0, 1])
    corners = 40 * torch.rand(7, 2) - 5  # some lie over the edge
    boxes = torch.cat([corners, corners + 2 + 30 * torch.rand(7, 2)], dim=1)
    meta = dict(ori_shape=(90, 120), img_shape=(45, 60), scale_factor=(0.5, 0.5))
    given, head = InstanceData(bboxes=boxes.clone(), labels=labels), TorchvisionMaskHead(num_classes=4)
    (found,) = head.predict_by_feat((maps,), [given], [meta], ConfigDict(mask_thr_binary=0.5), rescale=rescale)
    boxes, size = (2 * boxes, (90, 120)) if rescale else (boxes, (45, 60))
    chosen = maps.sigmoid()[range(7), labels][:, None]
    assert torch.equal(found.masks, paste_masks_in_image(chosen, boxes, size)[:, 0] >= 0.5)
    assert torch.equal(found.bboxes, boxes) and found.masks.any((1, 2)).all()
    assert [len(call.args[0]) for call in paste.mock_calls if call.args] == [3, 3, 1]  # at a time


@pytest.mark.parametrize('without', ['detections', 'proposals'])
def test_where_torchvision_finds_nothing_nor_do_we(without):
    theirs = copy.deepcopy(fine_tuned(1, 3))
    if without == 'detections':
        theirs.roi_heads.box_predictor.cls_score.bias.data[0] = 1e4  # all is background
    model, picture = ours(convert(theirs.state_dict())), drawn(3)
    if without == 'proposals':
        theirs.rpn.min_size = model.rpn_head.test_cfg.min_bbox_size = 1e6
    (truth,), (found,) = detect(theirs, [picture]), found_by(model, [picture])
    assert len(truth['scores']) == len(found) == 0
    assert found.bboxes.shape == (0, 4) and found.masks.shape == (0, 180, 220)


def test_a_picture_without_objects_teaches_what_is_background():
    _, given = converted(1, 3)
    model, picture = ours(given).train(), drawn(6)
    sample = sample_of(picture)
    boxes, labels = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
    sample.gt_instances = InstanceData(bboxes=boxes, labels=labels, masks=PolygonMasks([], *picture.shape[:2]))
    data = dict(inputs=[torch.from_numpy(picture).permute(2, 0, 1)], data_samples=[sample])
    total, values = model.parse_losses(model(**model.data_preprocessor(data, training=True), mode='loss'))
    total.backward()
    learned = {name: value.item() > 0 for name, value in values.items() if name.startswith('loss_')}
    assert learned == dict(loss_rpn_cls=True, loss_rpn_bbox=False, loss_cls=True, loss_bbox=False, loss_mask=False)
    gradients = [value.grad for value in model.parameters() if value.grad is not None]
    assert all(it.isfinite().all() for it in gradients) and any(it.any() for it in gradients)


@pytest.mark.parametrize('version', [1, 2])
def test_it_learns_and_what_torchvision_freezes_stays(version):
    _, given = converted(version, 3 if version == 1 else 4)
    cfg = narrowed(Config.fromfile(ROOT / given.config).model, len(given.classes))
    cfg.train_cfg.rpn_proposal.update(nms_pre=100, max_per_img=30)
    cfg.train_cfg.rcnn.sampler.num = 16
    model = MODELS.build(cfg)
    model.load_state_dict(given.state)
    model.train()
    before, picture = copy.deepcopy(model.state_dict()), drawn(6)
    sample = sample_of(picture)
    corners = np.array([[[30.0, 30, 90, 30, 90, 100, 30, 100]], [[100.0, 60, 200, 60, 200, 150, 100, 150]]])
    boxes = torch.tensor([[30.0, 30, 90, 100], [100, 60, 200, 150]])
    masks = PolygonMasks([list(it) for it in corners], *picture.shape[:2])
    sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([0, 1]), masks=masks)
    data = dict(inputs=[torch.from_numpy(picture).permute(2, 0, 1)], data_samples=[sample])
    losses = model(**model.data_preprocessor(data, training=True), mode='loss')
    total, values = model.parse_losses(losses)
    total.backward()
    assert {name for name in values if 'loss' in name} == {
        'loss', 'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'loss_mask',
    }  # fmt: skip
    assert all(torch.isfinite(torch.as_tensor(value)) for value in values.values())
    learns = {name for name, value in model.named_parameters() if value.grad is not None and value.grad.any()}
    idle = {name for name, _ in model.named_parameters()} - learns
    norms = {name for name in idle if '.bn' in name or 'downsample.1' in name}
    assert {name.split('.')[1] for name in idle - norms} == {'conv1', 'layer1'}
    assert bool({name for name in norms if name.startswith('backbone.layer4')}) == (version == 1)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert bool(moved) == (version == 2)
    assert all('running' in name or 'tracked' in name for name in moved)
