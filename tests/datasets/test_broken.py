"""Objects that can't be learned are found, each with its reason, and a sound one is none of them."""

import copy
import json
import re

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from damamba.datasets.broken import find_faults, why_undrawable
from damamba.datasets.named import NamedCocoDataset

W, H = 60, 40
SOUND = dict(id=1, image_id=1, category_id=1, bbox=[5, 5, 20, 10], area=200.0, iscrowd=0)
POLYGON = [5, 5, 25, 5, 25, 15, 5, 15]
SOUND['segmentation'] = [POLYGON]
MASK = np.zeros((H, W), np.uint8)
MASK[5:15, 5:25] = 1
RLE = {**coco_mask.encode(np.asfortranarray(MASK))}
RLE['counts'] = RLE['counts'].decode()
NAN, INF = float('nan'), float('inf')

FAULTS = {  # the changes, what is said, and whether MMDetection would stumble over it
    'box of nan': (dict(bbox=[NAN, 5, 20, 10]), 'bbox is .*nan', True),
    'box of infinity': (dict(bbox=[5, 5, INF, 10]), 'bbox is .*inf', True),
    'box of light years': (dict(bbox=[-1e300, 5, 2e300, 10]), 'far beyond', True),
    'area of nan': (dict(area=NAN), 'area is nan', True),
    'a number without end': (dict(bbox=[5, 5, 10**400, 10]), 'bbox is', True),
    'no area': (dict(area=0), 'has no area', False),
    'outside': (dict(bbox=[W + 5, 5, 20, 10]), 'outside of its picture', False),
    'thin': (dict(bbox=[5, 5, 0.5, 10]), 'less than a pixel', False),
    'category': (dict(category_id=9), 'no category of its category id 9', False),
    'picture': (dict(image_id=9), 'no picture of its picture id 9', False),
    'one point': (dict(segmentation=[[5, 5]]), 'has 2 numbers', True),
    'odd': (dict(segmentation=[[*POLYGON, 1]]), 'has 9 numbers', True),
    'one of two': (dict(segmentation=[POLYGON, [5, 5, 6, 6]]), 'has 4 numbers', True),
    'polygon of nan': (dict(segmentation=[[NAN, *POLYGON[1:]]]), 'NaN or Infinity', True),
    'polygon of text': (dict(segmentation=[['a', *POLYGON[1:]]]), 'not numbers alone', True),
    'polygon to the moon': (dict(segmentation=[[0, 0, 1e9, 0, 1e9, 9]]), 'longer than 1e.06 pixels', True),
    'polygon of lists': (dict(segmentation=[[[5, 5], [6, 6], [7, 7]]]), 'not numbers alone', True),
    'the same point thrice': (dict(segmentation=[[5, 5] * 3]), 'enclose nothing', True),
    'none': (dict(segmentation=[]), 'no segmentation', True),
    'text': (dict(segmentation='5 5 6 6'), 'not polygons or an RLE', True),
    'RLE of another size': (dict(segmentation={**RLE, 'size': [W, H]}), 'size is', True),
    'RLE of a giant': (dict(segmentation={**RLE, 'size': [10**9, 10**9]}), 'size is', True),
    'RLE too short': (dict(segmentation=dict(size=[H, W], counts=[5, 6])), 'do not add up', True),
    'RLE of less than nothing': (dict(segmentation=dict(size=[H, W], counts=[-5, 5 + H * W])), 'counts is', True),
    'RLE of noise': (dict(segmentation={**RLE, 'counts': 'zzzzzzzzzzzzzzzzzzzzzzzzz'}), 'no compressed RLE', True),
}


def document(*annotations: dict) -> dict:
    images = [dict(id=1, file_name='a.jpg', width=W, height=H)]
    return dict(images=images, annotations=[*annotations], categories=[dict(id=1, name='a'), dict(id=2, name='b')])


@pytest.mark.parametrize('what', FAULTS)
def test_each_fault_is_found_and_said(what):
    change, text, stops = FAULTS[what]
    broken = {**SOUND, **change, 'id': 7}
    (fault,) = find_faults(document(SOUND, broken), {1}, masks=True)
    assert re.search(text, fault.reason), fault.reason
    assert (fault.annotation, fault.stops) == (broken, stops) and fault.to_dict()['id'] == 7


def test_what_is_sound_or_not_looked_at_is_no_fault():
    others = [
        {**SOUND, 'segmentation': RLE},
        {**SOUND, 'segmentation': [POLYGON, [v + 3.5 for v in POLYGON]]},
        {**SOUND, 'segmentation': [[v - 9 for v in POLYGON]]},  # it leaves the picture
        {**SOUND, 'iscrowd': 1, 'segmentation': dict(size=[H, W], counts=[5, 6, H * W - 11])},
        {**SOUND, 'category_id': 2, 'bbox': [NAN] * 4},  # no class
        {**SOUND, 'ignore': 1, 'area': 0},
    ]
    assert find_faults(document(SOUND, *others), {1}, masks=True) == []
    assert find_faults(document({**SOUND, 'segmentation': [[5, 5]]}), {1}, masks=False) == []


def test_a_long_polygon_is_measured_before_it_is_refused():
    around = np.linspace(0, 2 * np.pi, 20000)
    circle = np.stack([300 + 200 * np.cos(around), 300 + 200 * np.sin(around)], 1).ravel().tolist()
    assert why_undrawable(circle) is None
    assert 'longer' in why_undrawable([0, 0, 600, 600] * 5000)


def test_the_data_set_is_without_them_and_has_the_list(tmp_path):
    from mmengine.registry import DefaultScope

    changes = [change for change, _, _ in FAULTS.values()]
    broken = [{**SOUND, **change, 'id': 10 + number} for number, change in enumerate(changes)]
    (tmp_path / 'a.json').write_text(json.dumps(document(SOUND, *broken)))
    with DefaultScope.overwrite_default_scope('mmdet'):
        data = NamedCocoDataset(
            ann_file='a.json',
            data_root=str(tmp_path),
            data_prefix=dict(img=''),
            metainfo=dict(classes=('a',)),
            pipeline=[dict(type='LoadAnnotations', with_bbox=True, with_mask=True)],
        )
    assert [it['bbox'] for it in data.get_data_info(0)['instances']] == [[5, 5, 25, 15]]
    assert {entry['id'] for entry in data.broken} == {it['id'] for it in broken} and data.annotated == 1 + len(broken)
    info = copy.deepcopy(data.get_data_info(0)) | dict(ori_shape=(H, W))
    assert (data.pipeline.transforms[0](info)['gt_masks'].masks[0] == MASK).mean() > 0.95
