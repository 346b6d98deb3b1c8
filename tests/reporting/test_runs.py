"""Work folders: what is read of them, and which of several tests counts."""

import json

import pytest

from damamba.reporting.ground_truth import sections_of
from damamba.reporting.missing import missing_of
from damamba.reporting.runs import ReportError, read_run, read_runs
from tests.reporting.runs import FAULTS, MIX, ZOOMED, edit, load, metrics, proof, write_result, write_run


def test_a_whole_run_is_read(tmp_path):
    run = read_run(write_run(tmp_path / 'a', subsets=(ZOOMED,)), 'a')
    assert [(it.subset, it.data) for it in run.results] == [('', MIX), (ZOOMED, ZOOMED)]
    assert len(run.log.train) == 4 and len(run.log.val) == 2 and len(run.trainings) == 1
    assert run.told('parameters', newest=True) == load(tmp_path / 'a')['parameters'] and not run.own.reasons


@pytest.mark.parametrize(
    ('checkpoint', 'epochs'),
    [('x/epoch_7.pth', 7), ('x/best_coco_segm_mAP_epoch_11.pth', 11), ('x/final.pth', 2), ('https://x/tiny.pth', None)],
)
def test_epochs_are_those_of_the_checkpoint(tmp_path, checkpoint, epochs):
    folder = write_run(tmp_path / 'a', checkpoint=checkpoint)
    (folder / 'final.pth').touch()
    run = read_run(folder, 'a')
    assert run.results[0].epochs == epochs


def test_what_can_not_be_reported_is_one_sentence(tmp_path):
    a, b = write_run(tmp_path / 'x/a'), write_run(tmp_path / 'y/a')
    (tmp_path / 'empty').mkdir()
    for folders, names, words in (
        ([tmp_path / 'nowhere'], None, 'does not exist'),
        ([a / 'metrics.json'], None, 'is no folder'),
        ([a, b], None, 'two runs have the name a'),
        ([a, b], ['x'], '2 folders, 1 names'),
        ([tmp_path / 'empty'], None, 'nothing to report'),
        ([a], [''], "a name of one line, got ''"),
        ([a, b], ['x', 'y\nz'], 'a name of one line'),
    ):
        with pytest.raises(ReportError, match=words):
            read_runs(folders, names)
    assert [run.name for run in read_runs([a, b], ['x', 'y'])] == ['x', 'y']


def write_test(folder, place, day):
    """A test on a day, into a dated folder or another; refused if the day is negative, and a copy on the same day."""
    date = f'2026-01-{abs(day):02}T00:00:00+00:00'
    content = metrics(day, proof=proof(day > 0), checkpoint=f'x/epoch_{abs(day)}.pth', date=date)
    write_result(folder / place, content)


@pytest.mark.parametrize(
    ('tests', 'counting'),
    [
        ({'': 3, MIX: 9}, ['']),
        ({'x': 3, 'y': 5, 'z': 4}, ['y']),
        ({'': -3, MIX: 9}, ['']),
        ({'': 3, MIX: -9}, [MIX]),
        ({'': -3, MIX: -9}, ['', MIX]),
        ({'': 4, '20260103_000000': -3, '20260104_000000': 4}, ['']),
        ({'': -4, '20260103_000000': 3, '20260104_000000': -4}, ['']),
        ({'20260104_000000': 4, '20260105_000000': 3}, ['20260104_000000']),
        ({'x': 6, 'x/20260105_000000': 5, 'x/20260106_000000': 6, 'y': 2}, ['x']),
        ({'': 4, '20260103_000000': 3, '20260104_000000': 4, 'x/20260105_000000': -2}, ['x/20260105_000000']),
    ],
)
def test_of_several_tests_on_one_data_set_one_counts_and_the_others_are_named(tmp_path, tests, counting):
    """The newest in each place; a refused one, else that in the own folder, else the newest of all."""
    folder = write_run(tmp_path / 'a', split='val', epoch=2)
    for place, day in tests.items():
        write_test(folder, place, day)
    run = read_run(folder, 'a')
    assert [it.folder for it in run.results] == [folder / place for place in counting] and not run.broken
    assert [it.epochs for it in run.results] == [abs(tests[place]) for place in counting]
    assert all(len(it.examples['images']) == 2 for it in run.results)
    is_refused = tests[counting[0]] < 0
    end = f'that in {run.results[0].folder}, of the same data, {"is refused" if is_refused else "counts"}'
    places = {day: folder / place for place, day in reversed(tests.items()) if day not in map(tests.get, counting)}
    aside = {f'a row of the test in {place} (date: 2026-01-{abs(day):02}): {end}' for day, place in places.items()}
    assert {it.what for it in missing_of(run) if it.what.startswith('a row')} == aside
    assert bool(sections_of([run])) != is_refused


def test_data_are_the_same_by_their_digest_or_where_one_has_none_by_the_name(tmp_path):
    folder = write_run(tmp_path / 'a')
    write_test(folder, '20260103_000000', 3)
    for changes, count in (({}, 1), ({'dataset.name': 'a copy'}, 1), ({'dataset.sha256': None}, 2)):
        edit(folder / '20260103_000000', changes)
        assert len(read_run(folder, 'a').results) == count
    edit(folder / '20260103_000000', {'dataset.name': MIX})
    assert len(read_run(folder, 'a').results) == 1
    edit(folder / '20260103_000000', {'dataset.sha256': 'b' * 64})
    assert len(read_run(folder, 'a').results) == 2


@pytest.mark.parametrize('faults', [[], FAULTS])
def test_a_test_counts_from_its_dated_folder_where_a_later_validation_is_on_top(tmp_path, faults):
    folder = write_run(tmp_path / 'a')
    write_test(folder, '20260102_000000', 2)
    validation = metrics(7, split='val', epoch=2, date='2026-01-05T00:00:00+00:00')
    validation['evaluations']['coco']['faults'] = faults
    (folder / '20260104_000000').mkdir()
    for place in (folder, folder / '20260104_000000'):
        (place / 'metrics.json').write_text(json.dumps(validation))
    started = dict(mode='train', started='2026-01-04T00:00:00+00:00')
    (folder / '20260104_000000/run.json').write_text(json.dumps(started))
    for path in (folder / 'examples').iterdir():  # those of the test lie beside it
        path.unlink()
    run = read_run(folder, 'a')
    assert [it.folder for it in run.results] == [folder / '20260102_000000'] == [run.own.folder] and not run.aside
    assert len(run.results[0].examples['images']) == 2 and not run.broken
    assert [it.what.split(' of ')[0] for it in missing_of(run)] == ['a test']
    assert 'since it was trained again' in missing_of(run)[0].what
    assert run.validation.reasons == [': '.join(it.values()) for it in faults] and sections_of([run])


def test_a_folder_of_runs_is_refused_and_one_with_a_run_in_it_leaves_that_out(tmp_path):
    write_run(tmp_path / 'runs/a')
    with pytest.raises(ReportError, match=r'runs holds runs, and is none: give .*runs/\*'):
        read_run(tmp_path / 'runs', 'runs')
    own = write_run(tmp_path / 'own', subsets=(ZOOMED,))
    write_run(own / 'inner', 1)
    run = read_run(own, 'own')
    assert [it.subset for it in run.results] == ['', ZOOMED]
    assert any('inner: a run of its own' in it.what for it in missing_of(run))


@pytest.mark.parametrize('other', [{}, {'config': 'configs/x.py'}, {'checkpoint': 'work_dirs/x/epoch_2.pth'}])
def test_a_folder_of_tests_alone_is_a_run_if_they_are_of_one_model(tmp_path, other):
    write_result(tmp_path / MIX, metrics(0))
    write_result(tmp_path / ZOOMED, metrics(0, ZOOMED, **other))
    (tmp_path / MIX / '20260101_000000/vis_data').mkdir(parents=True)
    if other:
        with pytest.raises(ReportError, match='holds runs'):
            read_run(tmp_path, 'x')
    else:
        assert len(read_run(tmp_path, 'x').results) == 2
