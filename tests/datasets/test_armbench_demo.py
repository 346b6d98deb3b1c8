"""The stand-in of ARMBench as it is written: folders, ids, its JSON against pycocotools, whose files it spares."""

import json
import re

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from damamba.datasets.armbench_demo import SPLITS, write_armbench
from damamba.datasets.drawing.scenes import DemoError
from damamba.datasets.drawing.tote_scenes import VIEWS

SIDE = 160
MIX, ZOOMED, SAME = VIEWS
PICTURES = {MIX: (10, 2, 2), ZOOMED: (1, 2, 2), SAME: (1, 2, 2)}  # of 10 to train on


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """A small data set, and its summaries."""
    out = tmp_path_factory.mktemp('demo') / 'armbench'
    return out, write_armbench(out, images=10, long_side=SIDE, seed=3)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def load(out, subset, split):
    return json.loads((out / subset / f'{split}.json').read_text())


def test_folders_and_files_are_armbenchs(written):
    out, _ = written
    assert {path.name for path in out.iterdir()} == set(VIEWS)
    names = []
    for subset, counts in PICTURES.items():
        assert {path.name for path in (out / subset).iterdir()} == {'images', *(f'{split}.json' for split in SPLITS)}
        listed = [it['file_name'] for split in SPLITS for it in load(out, subset, split)['images']]
        assert sorted(listed) == sorted(path.name for path in (out / subset / 'images').iterdir())
        assert tuple(len(load(out, subset, split)['images']) for split in SPLITS) == counts
        names += listed
    assert len(names) == len(set(names)) and all(re.fullmatch('[0-9a-f]{12,}.jpg', name) for name in names)


def test_the_categories_are_armbenchs(written):
    for subset in VIEWS:
        names = {1: 'Object'} if subset == SAME else {1: 'Tote', 2: 'Object'}
        for split in SPLITS:
            document = load(written[0], subset, split)
            assert {it['id']: it['name'] for it in document['categories']} == names
            assert {it['category_id'] for it in document['annotations']} == set(names)


def test_images_are_what_their_entries_say(written):
    for subset in VIEWS:
        ids = []
        for split in SPLITS:
            for image in load(written[0], subset, split)['images']:
                shape = cv2.imread(str(written[0] / subset / 'images' / image['file_name'])).shape
                assert shape == (image['height'], image['width'], 3) == (*VIEWS[subset].size(SIDE), 3)
                ids.append(image['id'])
        assert len(ids) == len(set(ids))


def test_boxes_and_areas_are_those_of_the_segmentation_and_the_tote_overlaps_with_the_objects(written):
    coco = COCO(str(written[0] / MIX / 'train.json'))
    for annotations in coco.imgToAnns.values():
        masks = [coco.annToMask(it) for it in annotations]
        for annotation, mask in zip(annotations, masks, strict=True):
            assert annotation['area'] == mask.sum() and tuple(annotation['bbox']) == cv2.boundingRect(mask)
            assert annotation['iscrowd'] == 0
        assert [it['category_id'] for it in annotations] == [1] + [2] * (len(annotations) - 1)
        assert all((mask & masks[0]).sum() > 0.8 * mask.sum() for mask in masks[1:])


def test_the_summaries_count_objects_but_not_totes(written):
    for subset, summary in written[1].items():
        documents = [load(written[0], subset, split) for split in SPLITS]
        name = {it['id']: it['name'] for it in documents[0]['categories']}
        found = [it for document in documents for it in document['annotations'] if name[it['category_id']] == 'Object']
        areas = np.array([it['area'] for it in found])
        assert summary.fresh and (summary.pictures, summary.objects) == (sum(PICTURES[subset]), len(areas))
        assert (summary.small, summary.large) == ((areas < 32**2).sum(), (areas >= 96**2).sum())
        assert summary.crowds == 0


def test_the_same_arguments_write_the_same_bytes_and_pictures_do_not_depend_on_their_number(tmp_path, written):
    small = dict(images=1, long_side=SIDE, seed=3)
    write_armbench(tmp_path / 'one', **small)
    write_armbench(tmp_path / 'same', **small)
    write_armbench(tmp_path / 'other', **small | dict(seed=4))
    one, other, many = contents(tmp_path / 'one'), contents(tmp_path / 'other'), contents(written[0])
    assert one == contents(tmp_path / 'same')
    pictures = [name for name in one if name.endswith('.jpg')]
    assert len(pictures) == 9 and all(many[name] == one[name] != other[name] for name in pictures)
    first = load(written[0], MIX, 'train')['annotations']
    assert load(tmp_path / 'one', MIX, 'train')['annotations'] == [it for it in first if it['image_id'] == 1]


def test_a_set_that_is_there_is_left_alone(written):
    out, first = written
    times = {path: path.stat().st_mtime_ns for path in out.rglob('*')}
    again = write_armbench(out, 10, SIDE, 3, on_picture=lambda done, total: pytest.fail('drawn again'))
    assert not any(it.fresh for it in again.values())
    assert [it.objects for it in again.values()] == [it.objects for it in first.values()]
    assert times == {path: path.stat().st_mtime_ns for path in out.rglob('*')}


@pytest.mark.parametrize('change', [dict(images=9), dict(long_side=161), dict(seed=1), dict(test=False)])
def test_another_set_is_not_written_over(written, change):
    before = contents(written[0])
    named = 'holds another data set, or a part of one .kind armbench, images 10, long_side 160, seed 3, test True'
    with pytest.raises(DemoError, match=named):
        write_armbench(written[0], **dict(images=10, long_side=SIDE, seed=3) | change)
    assert contents(written[0]) == before


def test_there_can_be_no_test_split(tmp_path):
    summaries = write_armbench(tmp_path / 'set', images=1, long_side=SIDE, test=False)
    for subset in VIEWS:
        assert {path.name for path in (tmp_path / 'set' / subset).iterdir()} == {'images', 'train.json', 'val.json'}
        assert len(list((tmp_path / 'set' / subset / 'images').iterdir())) == summaries[subset].pictures == 2
    again = write_armbench(tmp_path / 'set', images=1, long_side=SIDE, test=False)
    assert not again[MIX].fresh


def test_an_interrupted_run_is_not_taken_for_a_finished_one_and_can_be_repeated(tmp_path):
    def interrupt(done, total):
        assert total == 9
        if done == 2:
            raise KeyboardInterrupt

    arguments = dict(images=1, long_side=SIDE, seed=2)
    with pytest.raises(KeyboardInterrupt):
        write_armbench(tmp_path / 'set', **arguments, on_picture=interrupt)
    assert not list((tmp_path / 'set').glob('*/*.json'))
    with pytest.raises(DemoError, match='holds another data set, or a part of one'):
        write_armbench(tmp_path / 'set', **arguments | dict(seed=3))
    assert write_armbench(tmp_path / 'set', **arguments)[MIX].fresh
    write_armbench(tmp_path / 'straight', **arguments)
    assert contents(tmp_path / 'set') == contents(tmp_path / 'straight')


def test_somebody_elses_files_are_not_written_over(tmp_path):
    (tmp_path / MIX).mkdir()
    (tmp_path / MIX / 'train.json').write_text('{"info": {"description": "the real ones"}, "images": []}')
    with pytest.raises(DemoError, match='is not empty and holds something else'):
        write_armbench(tmp_path, 1, SIDE)
    assert len(contents(tmp_path)) == 1


@pytest.mark.parametrize(
    ('change', 'named'),
    [
        (dict(images=0), 'pictures to train on is an integer from 1 to 100000, not 0'),
        (dict(long_side=159), 'the longest side of the pictures, in pixels, is an integer from 160 to 2448, not 159'),
        (dict(long_side=320.5), 'not 320.5'),
        (dict(seed=-1), 'the seed is an integer from 0'),
    ],
)
def test_arguments_that_make_no_sense_are_named_before_anything_is_written(tmp_path, change, named):
    with pytest.raises(DemoError, match=named):
        write_armbench(tmp_path / 'set', **dict(images=1) | change)
    assert not (tmp_path / 'set').exists()
