"""Both embedded sets as they are written: the same bytes, their JSON against pycocotools, whose files they spare."""

import json
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from damamba.datasets.armbench_demo import write_armbench
from damamba.datasets.demo import DemoError, write_shapes
from damamba.datasets.drawing.heap import Visible
from damamba.datasets.writing import Summary, count_things

WRITERS = {
    'shapes': (write_shapes, dict(images=4, val_images=2, size=64, seed=2)),
    'armbench': (write_armbench, dict(images=2, long_side=160, seed=3, test=False)),
}
SAID = {
    'shapes': 'kind shapes, images 4, val_images 2, size 64, seed 2, drawing',
    'armbench': 'kind armbench, images 2, long_side 160, seed 3, test False, drawing',
}


@pytest.fixture(params=WRITERS, scope='module')
def kind(request):
    return request.param


@pytest.fixture(scope='module')
def written(kind, tmp_path_factory):
    """A small set, and what was said of it."""
    write, arguments = WRITERS[kind]
    out = tmp_path_factory.mktemp('demo') / 'set'
    return out, write(out, **arguments)


def rewrite(kind, out, **change):
    write, arguments = WRITERS[kind]
    return write(out, **arguments | change)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def summaries(found):
    return list(found.values()) if isinstance(found, dict) else [found]


def test_boxes_and_areas_are_those_of_the_segmentations_and_the_summary_counts_them(written):
    out, found = written
    areas, crowds, pictures = [], 0, 0
    for path in sorted(out.rglob('*.json')):
        coco = COCO(str(path))
        assert sorted(coco.anns) == list(range(1, len(coco.anns) + 1))
        names = {it['id']: it['name'] for it in coco.dataset['categories']}
        for picture in coco.dataset['images']:
            shape = cv2.imread(str(next(out.rglob(picture['file_name'])))).shape
            assert shape == (picture['height'], picture['width'], 3)
            pictures += 1
        for annotation in coco.anns.values():
            assert set(annotation) == {'id', 'image_id', 'category_id', 'bbox', 'area', 'segmentation', 'iscrowd'}
            mask = coco.annToMask(annotation).astype(np.uint8)
            assert annotation['area'] == mask.sum() and tuple(annotation['bbox']) == cv2.boundingRect(mask)
            crowds += annotation['iscrowd']
            if not annotation['iscrowd'] and names[annotation['category_id']] != 'Tote':
                areas.append(annotation['area'])
    areas, total = np.array(areas), sum(summaries(found)[1:], summaries(found)[0])
    assert (total.pictures, total.objects, total.crowds) == (pictures, len(areas), crowds)
    assert (total.small, total.large) == ((areas < 32**2).sum(), (areas >= 96**2).sum())
    assert total.small + total.medium + total.large == total.objects >= total.hidden > 0


def test_sizes_are_cocos_and_neither_crowds_nor_the_tote_count():
    fine = np.zeros((3, 3), bool)
    areas = [1023, 1024, 9215, 9216, 5, 5]
    things = [Visible(0, fine, hidden) for hidden in (0.0, 0.02, 0.03, 0.5)]
    things += [Visible(0, fine, 0.5, crowd=True), Visible(1, fine, 0.5, holder=True)]
    found = count_things(things, [dict(area=float(area)) for area in areas])
    assert found == Summary(pictures=1, objects=4, hidden=2, small=1, medium=2, large=1, crowds=1)


def test_another_process_writes_the_same_bytes(kind, written, tmp_path):
    write, arguments = WRITERS[kind]
    text = (
        f'import {write.__module__} as it, pathlib; it.{write.__name__}(pathlib.Path({str(tmp_path)!r}), **{arguments})'
    )
    subprocess.run([sys.executable, '-c', text], check=True)
    assert contents(tmp_path) == contents(written[0])


def test_pictures_depend_on_their_number_and_the_seed_alone(kind, written, tmp_path):
    rewrite(kind, tmp_path / 'more', images=6)
    rewrite(kind, tmp_path / 'other', seed=9)
    few, more, other = contents(written[0]), contents(tmp_path / 'more'), contents(tmp_path / 'other')
    pictures = [name for name in few if name.endswith('.jpg')]
    assert all(more[name] == few[name] != other[name] for name in pictures)
    assert len({few[name] for name in pictures}) == len(pictures)
    for path in written[0].rglob('*.json'):
        first, longer = (
            json.loads((it / path.relative_to(written[0])).read_text()) for it in (written[0], tmp_path / 'more')
        )
        ids = {it['id'] for it in first['images']}
        assert first['annotations'] == [it for it in longer['annotations'] if it['image_id'] in ids]


def test_a_set_that_is_there_is_left_alone(kind, written):
    times = {path: path.stat().st_mtime_ns for path in written[0].rglob('*')}
    again = rewrite(kind, written[0], on_picture=lambda done, total: pytest.fail('drawn again'))
    for first, second in zip(summaries(written[1]), summaries(again), strict=True):
        assert first.fresh and not second.fresh and first == replace(second, fresh=True)
    assert times == {path: path.stat().st_mtime_ns for path in written[0].rglob('*')}


@pytest.mark.parametrize(
    'change', [dict(images=3), dict(seed=1), dict(size=65, long_side=161), dict(val_images=3, test=True)]
)
def test_another_set_is_not_written_over(kind, written, change):
    before = contents(written[0])
    change = {name: value for name, value in change.items() if name in WRITERS[kind][1]}
    with pytest.raises(DemoError, match=f'holds another data set, or a part of one .{SAID[kind]}'):
        rewrite(kind, written[0], **change)
    assert contents(written[0]) == before


def test_an_interrupted_run_is_not_taken_for_a_finished_one_and_can_be_repeated(kind, written, tmp_path):
    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rewrite(kind, tmp_path, on_picture=interrupt)
    assert [path.name for path in tmp_path.rglob('*.json')] == ['unfinished.json']
    mark = (tmp_path / 'unfinished.json').read_text()
    with pytest.raises(DemoError, match='holds another data set, or a part of one'):
        rewrite(kind, tmp_path, seed=4)
    calls = []
    assert all(it.fresh for it in summaries(rewrite(kind, tmp_path, on_picture=lambda *call: calls.append(call))))
    count = sum(name.endswith('.jpg') for name in contents(tmp_path))
    assert calls == [(done, count) for done in range(1, count + 1)] and contents(tmp_path) == contents(written[0])
    (tmp_path / 'unfinished.json').write_text(mark)
    assert all(it.fresh for it in summaries(rewrite(kind, tmp_path)))
    next(tmp_path.rglob('*.jpg')).unlink()
    with pytest.raises(DemoError, match='holds another data set, or a part of one'):
        rewrite(kind, tmp_path)


def test_somebody_elses_files_are_not_written_over(kind, written, tmp_path):
    path = tmp_path / next(it for it in written[0].rglob('*train*.json')).relative_to(written[0])
    path.parent.mkdir()
    for text in (
        '{"info": {"description": "the real ones"}}',
        '{"info": "mine"}',
        '{"info": {"arguments": 1}}',
        'no JSON',
    ):
        path.write_text(text)
        with pytest.raises(DemoError, match='is not empty and holds something else'):
            rewrite(kind, tmp_path)
    with pytest.raises(DemoError, match='is not a folder'):
        rewrite(kind, path)
    assert list(contents(tmp_path).values()) == [b'no JSON']


@pytest.mark.parametrize(
    ('kind', 'change', 'named'),
    [
        ('shapes', dict(images=0), 'pictures to train on is an integer from 1 to 1000000, not 0'),
        ('shapes', dict(val_images=0), 'pictures to validate on is an integer from 1'),
        ('shapes', dict(size=63), 'the size of a picture, pixels a side, is an integer from 64 to 2048, not 63'),
        ('shapes', dict(size=2049), 'from 64 to 2048, not 2049'),
        ('shapes', dict(size=100.5), 'not 100.5'),
        ('shapes', dict(seed=-1), 'the seed is an integer from 0'),
        ('armbench', dict(images=0), 'pictures to train on is an integer from 1 to 100000, not 0'),
        (
            'armbench',
            dict(long_side=159),
            'the longest side of the pictures, in pixels, is an integer from 160 to 2448',
        ),
        ('armbench', dict(long_side=2449), 'not 2449'),
        ('armbench', dict(seed=-1), 'the seed is an integer from 0'),
    ],
)
def test_arguments_that_make_no_sense_are_named_before_anything_is_written(tmp_path, kind, change, named):
    with pytest.raises(DemoError, match=named):
        rewrite(kind, tmp_path / 'set', **change)
    assert not (tmp_path / 'set').exists()
