"""Annotation files with values, structure and bytes changed: loaded, or refused in a sentence, and nothing else."""

import json
import math

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from damamba.datasets.categories import DatasetError
from damamba.evaluation.annotations import read, require_usable
from damamba.evaluation.building import build_dataset
from damamba.evaluation.results import EvaluationError

SIZE = (40, 60)  # height, width
POLYGON = [5, 5, 25, 5, 25, 15, 5, 15]
RLE = dict(size=[*SIZE], counts=[200, 10, 30, 10, SIZE[0] * SIZE[1] - 250])
ODD = [None, True, -1, 0, 7, 10**19, 10**400, 1e300, math.nan, -math.inf, 'a', '../a.jpg', '/etc/passwd', [], [[]], {}]
ODD += [[1], [[1, 2]], [[math.nan] * 6], {'size': [10**9] * 2, 'counts': 'aaa'}, {'counts': 5}, [POLYGON, 'b']]
FAST = settings(
    max_examples=120, derandomize=True, deadline=10000, suppress_health_check=list(HealthCheck), database=None
)


def document() -> dict:
    images = [dict(id=i, file_name=f'{i}.jpg', width=SIZE[1], height=SIZE[0]) for i in (1, 2)]
    thing = dict(category_id=1, bbox=[5, 5, 20, 10], area=200.0, iscrowd=0)
    annotations = [
        dict(id=1, image_id=1, **thing, segmentation=[POLYGON]),
        dict(id=2, image_id=2, **thing, segmentation=RLE),
        dict(id=3, image_id=2, **thing, segmentation=[POLYGON, POLYGON]),
    ]
    return dict(images=images, annotations=annotations, categories=[dict(id=1, name='a'), dict(id=2, name='b')])


def places(node, path=()):
    """The paths to all that lies in a document."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


PLACES = list(places(document()))


def change(content: dict, path: tuple, what: str, value) -> None:
    for key in path[:-1]:
        content = content[key] if isinstance(content, dict | list) and _has(content, key) else None
    if not isinstance(content, dict | list) or not _has(content, path[-1]):
        return  # another change took it away
    if what == 'remove':
        del content[path[-1]]
    elif what == 'repeat' and isinstance(content, list):
        content.append(content[path[-1]])
    else:
        content[path[-1]] = value


def _has(node, key) -> bool:
    return key in node if isinstance(node, dict) else type(key) is int and key < len(node)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('fuzz')
    for number in (1, 2):
        cv2.imwrite(f'{folder}/{number}.jpg', np.zeros((*SIZE, 3), np.uint8))
    return folder


def use(folder) -> None:
    """Load all samples to train on, and look whether there is something to evaluate."""
    load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
    settings = dict(type='NamedCocoDataset', ann_file='a.json', data_root=str(folder), data_prefix=dict(img=''))
    try:
        data = build_dataset(dict(settings, metainfo=dict(classes=('a',)), pipeline=load))
        for number in range(len(data)):
            info = {**data.get_data_info(number), 'img_path': f'{folder}/1.jpg'}
            sample = data.pipeline(info) if (info['width'], info['height']) == SIZE[::-1] else None
            assert sample is None or np.isfinite(sample['gt_bboxes'].tensor.numpy()).all()
    except DatasetError as error:
        assert str(error)
    try:
        require_usable(read(folder / 'a.json'), 'a.json', [1], ['segm'])
    except EvaluationError as error:
        assert str(error)


@FAST
@given(
    changes=st.lists(
        st.tuples(st.sampled_from(PLACES), st.sampled_from(['set', 'set', 'remove', 'repeat']), st.sampled_from(ODD)),
        min_size=1,
        max_size=3,
    )
)
def test_whatever_stands_in_it_it_is_used_or_refused_in_words(folder, changes):
    content = document()
    for path, what, value in changes:
        change(content, path, what, json.loads(json.dumps(value)))
    (folder / 'a.json').write_text(json.dumps(content))
    use(folder)


@FAST
@given(place=st.floats(0, 1), cut=st.booleans(), other=st.binary(min_size=1, max_size=6))
def test_whatever_bytes_it_has_it_is_used_or_refused_in_words(folder, place, cut, other):
    whole = json.dumps(document()).encode()
    place = int(place * len(whole))
    (folder / 'a.json').write_bytes(whole[:place] + other + (b'' if cut else whole[place + len(other) :]))
    use(folder)
