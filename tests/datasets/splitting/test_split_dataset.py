"""Whole splits: groups uncut, the same picture in one part, records as they were, mistakes in one sentence."""

import json
import tempfile
from collections import defaultdict
from pathlib import Path

import cv2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from damamba.datasets.splitting import FOLDER, KEY, NAME, GroupBy, SplitError, split_dataset
from tests.datasets.splitting.helpers import (
    NAMES,
    assert_whole,
    document,
    part_of,
    picture,
    read_parts,
    write,
    write_pictures,
)

PAIRS, ABC = ['12', '34', '56'], ['16', '25', '34']  # the ids of three groups
QUARTERS = dict(zip(NAMES, (0.5, 0.25, 0.25), strict=True))


def split(folder, content, fractions=QUARTERS, **options):
    """Write a document, split it, return what was found and the parts."""
    done = split_dataset(write(folder, content), folder / 'out', fractions, workers=1, **options)
    parts = read_parts(folder / 'out')
    assert_whole(content, parts)
    assert [it for it in done.inspection.defects if it.kind == 'leak'] == []
    return done, parts


@settings(max_examples=20, deadline=None)
@given(
    pictures=st.lists(
        st.tuples(st.sampled_from('abcdef'), st.lists(st.integers(1, 3), max_size=3)), min_size=3, max_size=20
    ),
    grouped=st.booleans(),
    seed=st.integers(0, 2),
)
def test_parts_are_disjoint_complete_uncut_and_the_same_again(pictures, grouped, seed):
    scenes, classes = [scene for scene, _ in pictures], [own for _, own in pictures]
    content = document(classes, scene=scenes)
    by = GroupBy(KEY, 'scene') if grouped else None
    with tempfile.TemporaryDirectory() as folder:
        if grouped and len({*scenes}) < 3:
            with pytest.raises(SplitError, match='3 parts need as many groups, and there are only'):
                split(Path(folder), content, by=by)
            assert read_parts(Path(folder) / 'out') == {}
            return
        _, parts = split(Path(folder, 'a'), content, by=by, seed=seed)
        assert split(Path(folder, 'b'), content, by=by, seed=seed)[1] == parts
    assert {*parts} == {*NAMES}
    places = defaultdict(set)
    for part, found in parts.items():
        for image in found['images']:
            places[image['scene']].add(part)
    assert not grouped or all(len(it) == 1 for it in places.values())


@pytest.mark.parametrize(
    ('by', 'names', 'values', 'groups'),
    [
        (GroupBy(KEY, 'camera'), None, [1, 1, 2, 2, 3, 3], PAIRS),
        (GroupBy(KEY, 'scene'), None, [dict(a=1, b=2), dict(b=2, a=1), ['x'], ['x'], 'x', 'x'], PAIRS),
        (
            GroupBy(KEY, 'date_captured'),
            None,
            [f'2024-05-0{day} {hour}:00:00' for day in (1, 2, 3) for hour in ('08', '23')],
            PAIRS,
        ),
        (
            GroupBy(KEY, 'date_captured'),
            None,
            ['2024-05-01', '2024:05:01 23:00:00', '2024-05-02T08:00', '2024/05/02 23:00:00Z', 'unknown', 'unknown'],
            PAIRS,
        ),
        (GroupBy(NAME, r'^(\w+)_'), [f'{it}.png' for it in ('a_1', 'b_1', 'c_1', 'c_2', 'b_2', 'a_2')], None, ABC),
        (GroupBy(FOLDER), [f'{it}.png' for it in ('x/1', './x/2', 'x/y/1', 'x/y/2', '1', '2')], None, PAIRS),
    ],
)
def test_groups_by_a_key_a_day_a_name_or_a_folder(tmp_path, by, names, values, groups):
    content = document([[1]] * 6, **({by.value: values} if values else {}), **({'file_name': names} if names else {}))
    done, parts = split(tmp_path, content, dict.fromkeys(NAMES, 1 / 3), by=by)
    found = {''.join(str(it['id']) for it in part['images']) for part in parts.values()}
    assert found == {*groups} and [part.groups for part in done.parts] == [1, 1, 1]
    assert not any('groups of their own' in note for note in done.notes)


def test_a_note_says_that_almost_every_picture_is_a_group_of_its_own(tmp_path):
    content = document([[1]] * 20, scene=[f's{max(number, 2)}' for number in range(1, 21)])
    done, _ = split(tmp_path, content, by=GroupBy(KEY, 'scene'))
    assert 'by scene, 18 of 20 pictures are groups of their own: hardly any are kept together' in done.notes


def test_the_same_picture_is_in_one_part_by_its_name_its_bytes_and_its_id(tmp_path):
    names = ['a.png', './a.png', 'b.png', 'copy_of_b.png', 'c.png', 'd.png', 'e.png', 'f.png']
    write_pictures(tmp_path / 'images', names, [0, 0, 1, 1, 2, 3, 4, 5])
    content = document([[1]] * 8, file_name=names, id=[1, 2, 3, 4, 5, 5, 7, 8])
    content['annotations'][5]['image_id'] = 5
    seen = set()
    for seed in range(4):
        done, parts = split(tmp_path / str(seed), content, images=tmp_path / 'images', seed=seed)
        where = part_of(parts)
        assert where['a.png'] == where['./a.png'] and where['b.png'] == where['copy_of_b.png']
        assert where['c.png'] == where['d.png']
        seen.add(json.dumps(where, sort_keys=True))
        note = 'pictures that are the same as another, by id, file or bytes, stay together: 6 ('
        assert done.notes[0] == f'{note}a.png = ./a.png, b.png = copy_of_b.png, c.png = d.png)'
    assert len(seen) > 1


def test_near_duplicates_stay_together_in_chains_where_asked(tmp_path):
    """A picture, a smaller copy in another format, one of that with other brightness; and unlike ones."""
    names = ['x/a.png', 'b.jpg', 'y/a.png', *(f'z/{number}.png' for number in range(9))]
    write_pictures(tmp_path / 'images', names, [50, 50, 50, *range(9)])
    small = cv2.resize(picture(50), (40, 30), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(tmp_path / 'images' / 'b.jpg'), small)
    cv2.imwrite(str(tmp_path / 'images' / 'y' / 'a.png'), cv2.convertScaleAbs(small, alpha=0.8, beta=20))
    (tmp_path / 'images' / 'z' / '8.png').write_bytes(b'broken')
    content = document([[1]] * 12, file_name=names)
    apart = 0
    for seed in range(4):
        options = dict(images=tmp_path / 'images', seed=seed)
        done, parts = split(tmp_path / f'{seed}', content, near=0.95, **options)
        where = part_of(parts)
        assert len({where[name] for name in names[:3]}) == 1
        group = 'groups: 1, the largest of 3 pictures: x/a.png = b.jpg = y/a.png'
        assert f'near-duplicates (correlation from 0.95 on) stay together; {group}' in done.notes
        assert any(note.endswith('for near-duplicates: 1 (z/8.png)') for note in done.notes)
        where = part_of(split(tmp_path / f'{seed} without', content, **options)[1])
        apart += len({where[name] for name in names[:3]}) > 1
    assert apart


def test_unknown_keys_crowds_and_figures_stay_and_orphans_are_counted(tmp_path):
    content = document([[1], [2], [1], [2]], camera=['ä', '\ud800', None, 2**70])
    content |= dict(licenses=[dict(id=1)], own=dict(x=[1e-30, 0.1, None]))
    content['annotations'][0] |= dict(iscrowd=1, attributes=dict(occluded=True), score=1 / 3)
    strays = [dict(id=90, image_id=99, category_id=1), dict(id=91, image_id=[1]), dict(id=92)]
    path = write(tmp_path, content | dict(annotations=[*content['annotations'], *strays]))
    done = split_dataset(path, tmp_path / 'out', QUARTERS, workers=1)
    assert_whole(content, read_parts(tmp_path / 'out'))
    assert 'annotations of no picture, which are in no part: 3 (ids 90, 91, 92)' in done.notes
    assert sum(part.objects.total() for part in done.parts) == 3


def test_what_a_part_lacks_and_what_is_too_large_is_said(tmp_path):
    content = document([[1]] * 9 + [[2], [3]], scene=['a'] * 6 + ['b', 'b', 'c', 'c', 'd'])
    done, _ = split(tmp_path, content, dict(train=0.2, val=0.4, test=0.4), by=GroupBy(KEY, 'scene'))
    (rare,) = [note for note in done.notes if note.startswith('no c2')]
    assert rare.endswith('of 4 groups only 1 can be given one')
    assert any(note.endswith('groups are not cut, and the largest has 6') for note in done.notes)


@pytest.mark.parametrize(
    ('large', 'why'),
    [([], 'none beside the classes of the only group there'), ([[1, 2]] * 10, 'another seed may do better')],
)
def test_another_seed_is_named_where_one_may_help(tmp_path, large, why):
    """Six cameras of one class each, whose part of one camera lacks the other; and a large one of both, in training."""
    classes = [*large, *([1 + number // 5 % 2] for number in range(30))]
    content = document(classes, camera=[-1] * len(large) + [number // 5 for number in range(30)])
    done, _ = split(tmp_path, content, dict(zip(NAMES, (0.7, 0.15, 0.15), strict=True)), by=GroupBy(KEY, 'camera'))
    notes = [note for note in done.notes if note.startswith('no c')]
    assert notes and all(note.endswith(f' groups have one, and {why}') for note in notes)


def test_fractions_can_be_of_objects(tmp_path):
    content = document([[1] * 20] * 2 + [[1]] * 40)
    done, _ = split(tmp_path, content, dict(a=0.5, b=0.5), by_objects=True)
    assert [part.objects[1] for part in done.parts] == [40, 40]


@pytest.mark.parametrize(
    ('given', 'sizes'),
    [((0.333333, 0.333333, 0.333333), [7, 7, 6]), ((33.3, 33.3, 33.3), [7, 7, 6]), ((70, 15, 15), [14, 3, 3])],
)
def test_rounded_fractions_and_percents_are_taken_for_what_they_mean(tmp_path, given, sizes):
    done, _ = split(tmp_path, document([[1]] * 20), dict(zip(NAMES, given, strict=True)))
    assert [len(part.images) for part in done.parts] == sizes and sum(part.fraction for part in done.parts) == 1


FLAWS = [
    (dict(images=[]), {}, 'lists no pictures'),
    (dict(images=None), {}, 'images is None, not a list'),
    (dict(annotations=[7]), {}, 'annotations has 7 in it'),
    (dict(images=[dict(id=1)]), {}, 'picture 0 of the list has no id or no file_name'),
    ({}, dict(fractions=dict(a=0.5, b=0.4)), 'sum to 1, such as 0.8 0.1 0.1, or percents to 100; 0.5 0.4 sum to 0.9'),
    ({}, dict(fractions=dict(a=80, b=20.2)), '80 20.2 sum to 100.2'),
    ({}, dict(fractions=dict(a=float('nan'), b=0.5)), 'nan 0.5 sum to nan'),
    ({}, dict(fractions=dict(a=1.5, b=-0.5)), '1.5 -0.5 sum to 1'),
    ({}, dict(fractions=dict(a=1.0)), 'one part is no split'),
    ({}, dict(fractions={'../a': 0.5, 'b': 0.5}), "letters, digits, - and _, got '../a'"),
    ({}, dict(fractions=dict(a=0.5, A=0.5)), 'same name'),
    ({}, dict(fractions=dict.fromkeys('abcde', 0.2)), '5 parts need as many groups, and there are only 4'),
    ({}, dict(by=GroupBy(KEY, 'scene')), 'no picture has scene .records have id, file_name, width, height'),
    ({}, dict(by=GroupBy(KEY, 'half')), '2 of 4 pictures belong to no group, as they lack half: 003.png, 004.png'),
    ({}, dict(by=GroupBy(NAME, '(')), 'is no regular expression'),
    ({}, dict(by=GroupBy(NAME, 'a')), 'has no group in it'),
    ({}, dict(by=GroupBy(NAME, '(x)')), 'no picture has what .x. finds'),
    ({}, dict(by=GroupBy(FOLDER)), 'only 1 .the same picture, by their folder.'),
]  # fmt: skip


@pytest.mark.parametrize(('change', 'options', 'text'), FLAWS)
def test_what_can_not_be_split_is_one_sentence_and_nothing_is_written(tmp_path, change, options, text):
    content = document([[1]] * 4)
    for image in content['images'][:2]:
        image['half'] = 1
    path = write(tmp_path, content | change)
    with pytest.raises(SplitError, match=text) as raised:
        split_dataset(path, tmp_path / 'out', **(dict(fractions=QUARTERS) | options))
    assert '\n' not in str(raised.value) and not (tmp_path / 'out').exists()


def test_a_file_that_is_there_stays_as_it_is(tmp_path):
    (tmp_path / 'instances_val.json').write_text('mine')
    with pytest.raises(SplitError, match='instances_val.json is there already: remove it, or name another folder'):
        split_dataset(write(tmp_path, document([[1]] * 4)), tmp_path, QUARTERS)
    assert {path.name for path in tmp_path.iterdir()} == {'all.json', 'instances_val.json'}


@pytest.mark.parametrize('text', ['', '[1]', '{"images":', 'null'])
def test_what_is_no_annotation_file_is_one_sentence(tmp_path, text):
    (tmp_path / 'all.json').write_text(text)
    with pytest.raises(SplitError, match='all.json') as raised:
        split_dataset(tmp_path / 'all.json', tmp_path, QUARTERS)
    assert '\n' not in str(raised.value)
