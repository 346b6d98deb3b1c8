"""A data set that MMDetection can't load is one sentence: its file, the first wrong record, what mends it."""

import copy
import json
from collections.abc import Callable

import pytest

import damamba.register  # noqa: F401
from damamba.datasets.categories import DatasetError
from damamba.evaluation.building import build_dataset
from tests.datasets.inspection.helpers import document

SETTINGS = dict(metainfo=dict(classes=('Object',)), data_prefix=dict(img=''), pipeline=[])


def changed(part: str, **values) -> Callable[[dict], None]:
    return lambda content: content[part][1].update(values)


def without(part: str, key: str) -> Callable[[dict], object]:
    return lambda content: content[part][1].pop(key)


BROKEN = {  # what is done to a file, and what is said of it
    'no area': (without('annotations', 'area'), "image 1 '1.jpg', annotation 2: no area"),
    'no box': (without('annotations', 'bbox'), 'annotation 2: no bbox'),
    'three numbers': (changed('annotations', bbox=[1, 2, 3]), r'annotation 2: bbox is \[1, 2, 3\], not four finite'),
    'area is a text': (changed('annotations', area='9'), "annotation 2: area is '9', not a finite number"),
    'no image id': (without('annotations', 'image_id'), 'annotation 2: no image_id'),
    'no width': (without('images', 'width'), r"image 2 '2.jpg': images\[1\]: no width"),
    'no file name': (without('images', 'file_name'), r'image 2: images\[1\]: no file_name'),
    'no id': (without('annotations', 'id'), r'annotations\[1\]: no id'),
    'equal ids': (changed('annotations', id=1), 'annotation 1: another annotation has this id'),
    'null': (lambda content: content.update(annotations=None), 'annotations is None, not a list'),
    'categories are texts': (lambda content: [it.update(id='x') for it in content['categories']], "id is 'x', not a"),
}


KINDS = [(kind, what) for kind in ('CocoDataset', 'NamedCocoDataset') for what in BROKEN]
KINDS.remove(('CocoDataset', 'categories are texts'))  # which are as good as numbers to it


@pytest.mark.parametrize(('kind', 'what'), KINDS)
def test_what_stops_mmdetection_is_named(kind, what, tmp_path):
    spoil, text = BROKEN[what]
    content = copy.deepcopy(document())
    for annotation in content['annotations']:
        del annotation['iscrowd']  # which nothing stops at
    settings = {**SETTINGS, 'type': kind, 'ann_file': 'x.json', 'data_root': str(tmp_path)}
    (tmp_path / 'x.json').write_text(json.dumps(content))
    assert len(build_dataset(dict(settings))) == 3
    spoil(content)
    (tmp_path / 'x.json').write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=f'^{tmp_path}/x.json can not be loaded: x.json.*{text}.*check_dataset.py'):
        build_dataset(dict(settings))


def test_a_mistake_elsewhere_stays_what_it_is(tmp_path):
    (tmp_path / 'x.json').write_text(json.dumps(document()))
    settings = {**SETTINGS, 'type': 'CocoDataset', 'ann_file': f'{tmp_path}/x.json'}
    with pytest.raises(TypeError, match='colour'):
        build_dataset({**settings, 'colour': 1})
    with pytest.raises(DatasetError, match=f'no picture is left of {tmp_path}/x.json'):
        build_dataset({**settings, 'indices': []})
