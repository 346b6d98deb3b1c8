"""Masks at the picture's size: MMDetection's results in a fraction of its memory, and their run-length encodings."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from mmdet.evaluation.metrics import CocoMetric
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.seg_heads import MaskFormerFusionHead
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask

from damamba import detection
from damamba.detection import ChunkedMaskFormerFusionHead, ChunkedMaskHead
from damamba.evaluation.metric import CocoInstanceMetric
from damamba.evaluation.predictions import encode
from tests.detection import ROOT

ONE_MASK = 4 * 90 * 120  # bytes


def fusion_head(kind: type, things: int = 3, stuff: int = 0, **options) -> MaskFormerFusionHead:
    config = ConfigDict(panoptic_on=False, instance_on=True, max_per_image=20, **options)
    return kind(num_things_classes=things, num_stuff_classes=stuff, test_cfg=config)


def logits(classes: int = 3, queries: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Those of two padded pictures: classes [2, Q, K + 1], and smooth maps [2, Q, 48, 64]."""
    smooth = torch.nn.functional.interpolate(torch.randn(2, queries, 6, 8), size=(48, 64), mode='bilinear')
    return torch.randn(2, queries, classes + 1), smooth


def samples() -> list[DetDataSample]:
    sizes = (dict(img_shape=(45, 60), ori_shape=(90, 120)), dict(img_shape=(48, 32), ori_shape=(61, 43)))
    return [DetDataSample(metainfo=meta) for meta in sizes]


def both(*arguments, rescale: bool = True, **options) -> list[tuple]:
    """(ours, MMDetection's) of each picture."""
    heads = (fusion_head(kind, **options) for kind in (ChunkedMaskFormerFusionHead, MaskFormerFusionHead))
    return list(zip(*(head.predict(*arguments, samples(), rescale=rescale) for head in heads), strict=True))


def assert_same(ours, theirs) -> None:
    assert set(ours.keys()) == set(theirs.keys()) == {'bboxes', 'labels', 'scores', 'masks'}
    assert ours.masks.dtype == torch.bool and len(ours) > 0
    for name in ('labels', 'masks', 'bboxes'):
        assert torch.equal(ours[name], theirs[name]), name
    torch.testing.assert_close(ours.scores, theirs.scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize('rescale', [True, False], ids=['rescaled', 'as tested'])
@pytest.mark.parametrize('chunk', [1, 3 * ONE_MASK, 2**30], ids=['one', 'three', 'all'])
def test_instances_are_mmdetections(monkeypatch, chunk, rescale):
    monkeypatch.setattr(detection, 'CHUNK', chunk)
    maps = logits()
    before = maps[1].clone()
    for ours, theirs in both(*maps, rescale=rescale):
        assert_same(ours['ins_results'], theirs['ins_results'])
    assert torch.equal(maps[1], before)  # views of them are cropped, never written to


def test_maps_may_carry_gradients():
    classes, maps = logits()
    for ours, theirs in both(classes, maps.requires_grad_()):
        assert_same(ours['ins_results'], theirs['ins_results'])


def test_stuff_is_left_out():
    for ours, theirs in both(*logits(classes=5), things=2, stuff=3):
        assert_same(ours['ins_results'], theirs['ins_results'])
        assert len(ours['ins_results']) < 20


def test_an_empty_mask_has_no_box_and_scores_nothing():
    classes, maps = logits()
    for ours, theirs in both(classes, -maps.abs() - 0.1):
        assert_same(ours['ins_results'], theirs['ins_results'])
        assert not ours['ins_results'].scores.any() and not ours['ins_results'].bboxes.any()


def test_fewer_pairs_of_query_and_class_than_are_wanted_are_all_there():
    found = fusion_head(ChunkedMaskFormerFusionHead).predict(*logits(queries=4), samples(), rescale=True)
    assert [len(result['ins_results']) for result in found] == [12, 12]


def test_masks_of_bfloat16_maps_are_those_of_mmdetection():
    classes, maps = logits()
    for ours, theirs in both(classes, maps.bfloat16()):
        assert torch.equal(ours['ins_results'].masks, theirs['ins_results'].masks)
        torch.testing.assert_close(ours['ins_results'].scores, theirs['ins_results'].scores, rtol=0, atol=0.01)


def test_panoptic_results_come_mmdetections_way():
    config = dict(things=2, stuff=1, object_mask_thr=0.3)
    heads = [fusion_head(kind, **config) for kind in (ChunkedMaskFormerFusionHead, MaskFormerFusionHead)]
    for head in heads:
        head.test_cfg.panoptic_on = True
    ours, theirs = (head.predict(*logits_of_seed(), samples(), rescale=True) for head in heads)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one['pan_results'].sem_seg, other['pan_results'].sem_seg)
        assert_same(one['ins_results'], other['ins_results'])


def logits_of_seed() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return logits()


def test_configs_can_name_it():
    import damamba.register  # noqa: F401

    assert MODELS.get('ChunkedMaskFormerFusionHead') is ChunkedMaskFormerFusionHead


# Run-length encodings


def some_masks() -> torch.Tensor:
    """Noise, a box at the corner, nothing, everything, a line down, a line across."""
    masks = torch.zeros(6, 37, 53, dtype=torch.bool)
    masks[0] = torch.rand(37, 53) > 0.5
    masks[1, :9, :7] = masks[3] = masks[4, :, 20] = masks[5, 11] = True
    return masks


@pytest.mark.parametrize('dtype', [torch.bool, torch.uint8], ids=str)
def test_encodings_are_pycocotools(dtype, device):
    masks = some_masks()
    encoded = encode(masks.to(device, dtype))
    assert encoded == [coco_mask.encode(np.asfortranarray(mask.numpy().astype(np.uint8))) for mask in masks]
    decoded = np.stack([coco_mask.decode(rle) for rle in encoded])
    assert np.array_equal(decoded.astype(bool), masks.numpy())


def test_masks_in_another_order_of_memory_are_encoded_as_they_are():
    masks = some_masks().transpose(1, 2)
    assert encode(masks) == encode(masks.contiguous())
    assert encode(masks[:0]) == []


def test_the_evaluator_gets_what_mmdetections_gets_and_leaves_the_results_alone():
    masks = some_masks()
    found = dict(bboxes=torch.rand(6, 4), scores=torch.rand(6), labels=torch.arange(6), masks=masks)
    sample = dict(img_id=1, ori_shape=(37, 53), instances=[], pred_instances=found)
    ours, theirs = CocoInstanceMetric(metric='segm'), CocoMetric(metric='segm')
    for metric in (ours, theirs):
        metric.process({}, [sample])
    assert ours.results[0][1]['masks'] == theirs.results[0][1]['masks']
    assert sample['pred_instances'] is found and found['masks'] is masks


# Memory

FULL_SIZE = """
    import json
    import torch
    from mmdet.structures import DetDataSample
    from mmengine.config import ConfigDict
    from mmengine.structures import InstanceData
    from damamba.detection import ChunkedMaskFormerFusionHead, ChunkedMaskHead
    from damamba.engine.speed import peak_memory
    from damamba.evaluation.metric import CocoInstanceMetric

    torch.set_num_threads(1)
    peak = lambda: peak_memory(torch.device('cpu'))
    metric = CocoInstanceMetric(metric='segm')
    sizes = dict(img_shape=(800, 956), ori_shape=(2048, 2448))

    def grown(predict):
        before = peak()
        found = predict()
        assert found.masks.shape == (100, 2048, 2448) and found.masks[0].any()
        sample = dict(img_id=1, instances=[], pred_instances={k: found[k] for k in found.keys()}, **sizes)
        metric.process({}, [sample])
        return peak() - before

    def mask_rcnn():
        boxes = torch.tensor([[0.0, 0.0, 956, 800], *[[100.0, 100.0, 200, 200]] * 99])
        found = InstanceData(bboxes=boxes, labels=torch.zeros(100, dtype=int), scores=torch.rand(100))
        config, meta = ConfigDict(mask_thr_binary=0.5), dict(scale_factor=(956 / 2448, 800 / 2048), **sizes)
        head = ChunkedMaskHead(num_convs=0, num_classes=1)
        return head.predict_by_feat([torch.randn(100, 1, 28, 28)], [found], [meta], config, rescale=True)[0]

    config = ConfigDict(panoptic_on=False, instance_on=True)
    head = ChunkedMaskFormerFusionHead(num_things_classes=2, num_stuff_classes=0, test_cfg=config)
    classes, maps = torch.randn(1, 100, 3), torch.zeros(1, 100, 800, 960)
    maps.copy_(torch.linspace(-1, 1, 960))  # the right half

    def mask2former():
        return head.predict(classes, maps, [DetDataSample(metainfo=sizes)], rescale=True)[0]['ins_results']

    with torch.no_grad():
        print(json.dumps({predict.__name__: grown(predict) for predict in (mask_rcnn, mask2former)}))
"""


def test_a_hundred_masks_of_five_megapixels_take_little_more_than_a_byte_a_pixel():
    command = [sys.executable, '-W', 'ignore', '-c', textwrap.dedent(FULL_SIZE)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    grown = json.loads(done.stdout.splitlines()[-1])
    masks = 100 * 2048 * 2448
    assert masks < grown['mask_rcnn']
    assert sum(grown.values()) < masks + 4e8  # the second takes the memory of the first, and what it needs beyond


@pytest.mark.parametrize('rescale', [True, False], ids=['rescaled', 'as tested'])
@pytest.mark.parametrize('class_agnostic', [True, False])
@pytest.mark.parametrize('chunk', [1, 3 * 3 * ONE_MASK, 2**30], ids=['one', 'three', 'all'])
def test_pasted_masks_are_mmdetections(monkeypatch, chunk, class_agnostic, rescale):
    monkeypatch.setattr(detection, 'CHUNK', chunk)
    planes = 1 if class_agnostic else 4
    maps, labels = 3 * torch.randn(7, planes, 28, 28), torch.tensor([0, 3, 1, 2, 2, 0, 1])
    corners = torch.rand(7, 2) * 40
    boxes = torch.cat([corners, corners + 2 + 30 * torch.rand(7, 2)], dim=1)
    meta = dict(ori_shape=(90, 120), img_shape=(45, 60), scale_factor=(0.5, 0.5))
    results = []
    for kind in (ChunkedMaskHead, FCNMaskHead):
        head = kind(num_classes=4, class_agnostic=class_agnostic)
        given = [InstanceData(bboxes=boxes.clone(), labels=labels)]
        (found,) = head.predict_by_feat((maps,), given, [meta], ConfigDict(mask_thr_binary=0.5), rescale=rescale)
        results.append(found)
    ours, theirs = results
    assert ours.masks.dtype == torch.bool
    assert torch.equal(ours.masks, theirs.masks) and ours.masks.any((1, 2)).all()
    assert torch.equal(ours.bboxes, theirs.bboxes)
