import json

import pytest
from mmengine.utils import import_modules_from_strings

from tests.detection import write_coco

memorise = import_modules_from_strings('benchmarks.memorise')


def picture(number: int) -> dict:
    return dict(id=number, width=100, height=100, file_name=f'{number}.jpg')


def thing(image: int, side: float = 20, **more) -> dict:
    return dict(image_id=image, bbox=[0, 0, side, side], area=side * side, category_id=1, **more)


def chosen(annotations: list[dict], count: int = 1) -> list[int]:
    data = dict(images=[picture(i) for i in (1, 2, 3)], annotations=annotations, categories=[])
    return [image['id'] for image in memorise.choose(data, count)['images']]


def test_the_first_simple_pictures_are_chosen_with_their_annotations():
    data = dict(images=[picture(1), picture(2)], annotations=[thing(2), thing(1), thing(2)], categories=[])
    subset = memorise.choose(data, 1)
    assert subset['images'] == [picture(1)] and subset['annotations'] == [thing(1)]


@pytest.mark.parametrize(
    'complex_ones',
    [[], [thing(1, iscrowd=1)], [thing(1, side=5)], [thing(1)] * 7],
    ids=['empty', 'a crowd', 'small', 'many'],
)
def test_other_pictures_are_passed_over(complex_ones):
    assert chosen([*complex_ones, thing(2, iscrowd=0), thing(3)], count=2) == [2, 3]


def test_an_area_that_is_not_given_is_that_of_the_box():
    annotation = thing(1)
    del annotation['area']
    assert chosen([annotation]) == [1]


def test_too_few_pictures_are_one_sentence():
    with pytest.raises(SystemExit, match='only 1 of 3 pictures have 1 to 6 objects'):
        chosen([thing(1)], count=2)


def test_a_missing_annotation_file_is_one_sentence(tmp_path):
    with pytest.raises(SystemExit, match='instances_train2017.json does not exist; --annotations names'):
        memorise.configure(memorise.parse([str(tmp_path)]))


def test_training_and_testing_are_on_the_chosen_pictures(tmp_path):
    root = write_coco(tmp_path / 'coco')
    cfg = memorise.configure(memorise.parse([str(root), '--count', '2', '--work-dir', str(tmp_path / 'run')]))
    subset = tmp_path / 'run' / 'annotations.json'
    assert len(json.loads(subset.read_text())['images']) == 2
    loaders = [cfg[f'{split}_dataloader'].dataset for split in ('train', 'val', 'test')]
    assert {(d.ann_file, d.data_root, d.data_prefix.img) for d in loaders} == {(str(subset), str(root), 'train2017')}
    assert cfg.train_dataloader.batch_size == 2 and cfg.train_cfg.max_epochs == 300
