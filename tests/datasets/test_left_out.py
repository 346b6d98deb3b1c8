"""What is said to be left out is what MMDetection's own data set leaves out."""

import json

import pytest
from mmdet.datasets import CocoDataset
from mmengine.config import Config

from damamba.datasets.left_out import CROWD, EMPTY, PICTURES, RECIPES, describe_left_out, find_left_out
from tests.detection import ROOT

IMAGE = {'id': 1, 'file_name': '1.jpg', 'width': 100, 'height': 80}
CATEGORIES = [{'id': 1, 'name': 'cup'}, {'id': 2, 'name': 'x'}]
CASES = {
    'whole': {},
    'ignore': dict(ignore=1),
    'ignore is false': dict(ignore=0),
    'crowd': dict(iscrowd=1),
    'crowd and ignore': dict(iscrowd=1, ignore=1),
    'no area': dict(area=0),
    'negative area': dict(area=-3.0),
    'thin': dict(bbox=[10, 10, 0.9, 20]),
    'flat': dict(bbox=[10, 10, 20, 0.5]),
    'a pixel': dict(bbox=[10, 10, 1, 1]),
    'to the right': dict(bbox=[100, 10, 20, 20]),
    'above': dict(bbox=[10, -20, 20, 20]),
    'at the edge': dict(bbox=[99.5, 10, 20, 20]),
    'negative width': dict(bbox=[30, 10, -20, 20]),
}


def document(annotations: list[dict], images: list[dict] = (IMAGE,)) -> dict:
    whole = dict(image_id=1, category_id=1, bbox=[10, 10, 20, 20], area=400.0, iscrowd=0)
    entries = [{**whole, 'id': number, **more} for number, more in enumerate(annotations, 1)]
    return {'images': list(images), 'annotations': entries, 'categories': CATEGORIES}


def load(content: dict, path, **options) -> CocoDataset:
    path.write_text(json.dumps(content))
    return CocoDataset(
        ann_file=str(path), metainfo=dict(classes=('cup',)), pipeline=[], data_prefix=dict(img=''), **options
    )


@pytest.mark.parametrize('case', CASES)
def test_an_object_is_learned_where_mmdetection_hands_it_out(case, tmp_path):
    content = document([CASES[case]])
    instances = load(content, tmp_path / 'x.json').get_data_info(0)['instances']
    handed_out = [it for it in instances if not it['ignore_flag']]
    (reason,), _ = find_left_out(content, {1}, None)
    assert (reason is None) == bool(handed_out)
    assert (reason == CROWD) == bool(instances and not handed_out)


SIZES = [(100, 80), (100, 80), (100, 80), (32, 32), (31, 80), (100, 31), (31, 31), (100, 80)]  # of pictures 1 ... 8
MARKS = [dict(image_id=2, category_id=2), dict(image_id=3, iscrowd=1), dict(image_id=8, ignore=1, area=0)]
PLACED = [dict(image_id=number) for number in (1, 1, 4, 5, 6)]  # 7 has none


@pytest.mark.parametrize('filter_cfg', [
    None, {}, RECIPES, dict(min_size=32), dict(min_size=80), dict(filter_empty_gt=True), dict(filter_empty_gt=False),
])  # fmt: skip
@pytest.mark.parametrize('test_mode', [False, True])
def test_a_picture_is_trained_on_where_mmdetection_hands_it_out(filter_cfg, test_mode, tmp_path):
    images = [IMAGE | dict(id=i, width=width, height=height) for i, (width, height) in enumerate(SIZES, 1)]
    content = document([*MARKS, *PLACED], images)
    data = load(content, tmp_path / 'x.json', filter_cfg=filter_cfg, test_mode=test_mode)
    infos = [data.get_data_info(place) for place in range(len(data))]
    objects, pictures = find_left_out(content, {1}, None if test_mode else filter_cfg)
    assert [it['img_id'] for it in infos] == [number for number, why in enumerate(pictures, 1) if not why]
    learned = [it for info in infos for it in info['instances'] if not it['ignore_flag']]
    assert (len(objects), objects.count(None)) == (7, len(learned))


@pytest.mark.parametrize('name', ['armbench', 'coco_instance', 'coco_instance_multiscale'])
def test_the_filter_of_the_recipes_is_theirs(name):
    config = Config.fromfile(ROOT / 'configs' / '_base_' / 'datasets' / f'{name}.py')
    assert config.train_dataloader.dataset.filter_cfg == RECIPES


def test_they_are_counted_by_the_reason_of_the_classes_asked_for_and_said():
    content = document(
        [
            {},
            dict(iscrowd=1),
            dict(area=0),
            dict(area=0),
            dict(category_id=2, area=0),
            dict(image_id=7),
            dict(category_id='1'),
        ]
    )
    content['images'] += [IMAGE | dict(id=2), IMAGE | dict(id=3), IMAGE | dict(id=4, width=31)]
    content['annotations'][3]['image_id'] = 4
    objects, pictures = find_left_out(content, {1}, RECIPES)
    small = '1 lie in pictures that have less than 32 pixels a side'
    lost = '1 belong to no picture, 1 belong to no category'
    assert (
        describe_left_out(objects) == f'5 of 6 objects are not learned: 1 are crowds, 1 have no area, {small}, {lost}'
    )
    said = '3 of 4 pictures are not trained on: 2 have no objects, 1 have less than 32 pixels a side'
    assert describe_left_out(pictures, PICTURES) == said and pictures.count(EMPTY) == 2
    assert describe_left_out(find_left_out(document([{}]), {1}, None)[0]) == ''
