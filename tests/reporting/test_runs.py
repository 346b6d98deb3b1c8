"""Work folders: what is read of them, what is missing and how to make it, what is refused, what may share a table."""

import json
import random

import pytest

from damamba.reporting.missing import missing_of
from damamba.reporting.runs import Dataset, ReportError, read_run, read_runs
from damamba.reporting.sections import Section, sections_of
from tests.reporting.runs import evaluation, load, metrics, old, proof, write_result, write_run

ZOOMED = 'zoomed-out-tote-transfer-set'
FAULT = {'name': 'shifted', 'evidence': '9 of 9 detections have the next id'}


def test_a_whole_run_lacks_nothing(tmp_path):
    run = read_run(write_run(tmp_path / 'a', subsets=(ZOOMED,)), 'a')
    assert [(it.subset, it.dataset.name) for it in run.results] == [('', 'mix-object-tote'), (ZOOMED, ZOOMED)]
    assert len(run.log.train) == 4 and len(run.log.val) == 2 and run.own.proved and not run.own.reasons
    assert run.parameters == load(tmp_path / 'a')['parameters'] and run.epochs(run.own) == 2
    assert missing_of(run, [ZOOMED]) == []


@pytest.mark.parametrize(
    ('ann_file', 'name', 'drawn'),
    [
        ('data/armbench-demo/mix-object-tote/test.json', 'mix-object-tote', True),
        ('/x/coco/annotations/instances_val2017.json', 'instances_val2017', False),
        (None, 'unknown', False),
    ],
)
def test_old_files_name_their_data_by_the_path(ann_file, name, drawn):
    dataset = Dataset.of(old(metrics(0, ann_file=ann_file)))
    assert (dataset.name, dataset.drawn, dataset.sha256) == (name, drawn, None)


def test_drawn_pictures_are_known_by_their_own_words():
    told = dict(name='mix-object-tote', description='Drawn totes in the layout of ARMBench, by x', sha256='0')
    assert Dataset.of({'dataset': told}).drawn
    assert not Dataset.of({'dataset': {**told, 'description': 'ARMBench'}, 'ann_file': 'armbench-demo/x.json'}).drawn


def test_a_failed_proof_and_faults_refuse_figures_with_their_names(tmp_path):
    failed = read_run(write_run(tmp_path / 'a', proof=proof(False), evaluations={}), 'a')
    assert failed.own.reasons == ['ground truth scores 1.000: mask mAP: 0.870'] and failed.refused
    content = metrics(0)
    content['evaluations']['coco']['faults'] = [FAULT]
    faulty = read_run(write_run(tmp_path / 'b', **content), 'b')
    assert faulty.own.proved and faulty.own.reasons == ['shifted: 9 of 9 detections have the next id']
    assert read_run(write_run(tmp_path / 'c', proof={**proof(), 'passed': False}), 'c').own.reasons
    assert sections_of([failed, faulty]) == []


def test_epochs_are_those_of_the_checkpoint(tmp_path):
    for name, checkpoint, expected in (
        ('a', 'x/epoch_7.pth', 7),
        ('b', 'x/best_coco_segm_mAP_epoch_11.pth', 11),
        ('c', 'x/final.pth', 2),
        ('d', 'https://elsewhere/tiny.pth', None),
    ):
        folder = write_run(tmp_path / name, checkpoint=checkpoint)
        (folder / 'final.pth').touch()
        run = read_run(folder, name)
        assert run.epochs(run.own) == expected


def grouped(tmp_path, *changes: dict) -> list[list[str]]:
    """How runs are sorted, whose data sets and evaluations differ in these things."""
    for index, given in enumerate(changes):
        content = old(metrics(index)) if given.get('old') else metrics(index)
        if 'dataset' in content:
            content['dataset'] |= given.get('dataset', {})
        content['evaluations']['coco'] |= given.get('evaluation', {})
        folder = write_run(tmp_path / f'run {index}')
        (folder / 'metrics.json').write_text(json.dumps(content))
    runs = read_runs(sorted(tmp_path.glob('run *')))
    return [[it.run[-1] for it in section.results] for section in sections_of(runs)]


@pytest.mark.parametrize(
    ('other', 'together'),
    [
        ({}, True),
        ({'dataset': {'sha256': 'b' * 64}}, False),
        ({'evaluation': {'objects': 41}}, False),
        ({'evaluation': {'images': 4}}, False),
        ({'evaluation': {'max_dets': [1, 10, 300]}}, False),
        ({'dataset': {'name': 'a copy'}}, True),
        ({'old': True}, True),
        ({'old': True, 'evaluation': {'objects': 41}}, False),
    ],
)
def test_runs_share_a_table_on_one_ground_truth_alone(tmp_path, other, together):
    assert grouped(tmp_path, {}, other) == ([['0', '1']] if together else [['0'], ['1']])


def test_a_run_without_a_digest_is_on_its_own_where_two_digests_fit(tmp_path):
    assert grouped(tmp_path, {}, {'dataset': {'sha256': 'b' * 64}}, {'old': True}) == [['0'], ['1'], ['2']]


def test_data_sets_of_one_name_are_told_apart_and_the_one_of_most_runs_comes_first(tmp_path):
    grouped(tmp_path, {'dataset': {'sha256': 'b' * 64}}, {}, {}, {'evaluation': {'objects': 41}})
    sections = sections_of(read_runs(sorted(tmp_path.glob('run *'))))
    assert [len(section.results) for section in sections] == [2, 1, 1]
    labels = [section.label for section in sections]
    assert labels[2] == 'mix-object-tote, 1,500 pictures, 41 objects' and 'SHA-256 bbbbbbbb' in labels[1]
    assert len(set(labels)) == len({section.slug for section in sections}) == 3


@pytest.mark.parametrize(
    ('classes', 'wanted', 'focus'),
    [
        (('Object', 'Tote'), None, 'Object'),
        (('tote', 'object'), None, 'object'),
        (('Object', 'Tote'), 'mean', None),
        (('Object', 'Tote'), 'tote', 'Tote'),
        (('Object', 'Tote', 'Hand'), None, None),
        (('Object',), None, None),
        (('Object',), 'object', None),
    ],
)
def test_object_comes_first_beside_tote_alone(tmp_path, classes, wanted, focus):
    run = read_run(write_run(tmp_path / 'a', **metrics(0, classes=classes)), 'a')
    (section,) = sections_of([run], wanted)
    assert section.focus == focus


def test_a_focus_that_no_data_set_has_is_refused(tmp_path):
    with pytest.raises(ReportError, match='the class Hand; there are Object, Tote, and mean'):
        sections_of([read_run(write_run(tmp_path / 'a'), 'a')], 'Hand')


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


def test_boxes_alone_are_a_section_without_masks(tmp_path):
    content = metrics(0, evaluations={'coco': evaluation(random.Random(0), kinds=('bbox',))})
    run = read_run(write_run(tmp_path / 'a', **content), 'a')
    (section,) = sections_of([run])
    assert section.kinds == ['bbox'] and list(section.of('segm')) == []
    assert any('masks of mix-object-tote' in it.what for it in missing_of(run))


def two_tests(tmp_path, own: dict, below: dict):
    """A run that was tested twice on the same annotations, in its folder and in one below."""
    folder = write_run(tmp_path / 'a', **own)
    write_result(folder / 'mix-object-tote', metrics(7, **below))
    return read_run(folder, 'a')


def test_of_two_tests_on_one_data_set_that_in_the_own_folder_counts_and_the_other_is_named(tmp_path):
    run = two_tests(tmp_path, {}, {'date': '2026-02-02T00:00:00+00:00'})
    assert [it.subset for it in run.results] == ['']
    (section,) = sections_of([run])
    assert section.results == [run.own]
    (missing,) = missing_of(run)
    assert f'{run.folder}/mix-object-tote (date: 2026-02-02)' in missing.what and missing.what.endswith('counts')


def test_of_two_tests_in_other_folders_the_newest_counts(tmp_path):
    folder = write_run(tmp_path / 'a', split='val', epoch=2)
    for name, day in (('x', 3), ('y', 5), ('z', 4)):
        write_result(folder / name, metrics(0, date=f'2026-01-0{day}T00:00:00+00:00'))
    run = read_run(folder, 'a')
    assert [it.subset for it in run.results] == ['y'] and len(run.aside) == 2
    assert not any('a test' in it.what.split(' of the test')[0] for it in missing_of(run))


@pytest.mark.parametrize('refused', ['own', 'below'])
def test_a_refused_test_stands_for_all_on_its_data(tmp_path, refused):
    failed = dict(proof=proof(False), evaluations={})
    run = two_tests(tmp_path, *((failed, {}) if refused == 'own' else ({}, failed)))
    assert [it.subset for it in run.results] == ['' if refused == 'own' else 'mix-object-tote']
    assert sections_of([run]) == [] and missing_of(run)[0].what.endswith('is refused')


def test_two_rows_of_one_run_are_an_error(tmp_path):
    run = read_run(write_run(tmp_path / 'a'), 'a')
    with pytest.raises(ValueError, match='a would have several rows in the table of mix'):
        Section('mix', 'mix', run.results * 2)


def test_a_proof_of_other_annotations_refuses_the_figures(tmp_path):
    run = read_run(write_run(tmp_path / 'a', proof=proof(on='zoomed-out-tote-transfer-set')), 'a')
    (reason,) = run.own.reasons
    assert 'data/zoomed-out-tote-transfer-set/test.json' in reason and 'data/armbench/mix-object-tote' in reason
    elsewhere = {**proof(), 'ann_file': '/elsewhere/mix-object-tote/test.json'}
    assert read_run(write_run(tmp_path / 'b', proof=elsewhere), 'b').own.reasons == []


def test_without_a_test_on_its_own_data_the_tests_on_others_have_rows(tmp_path):
    folder = write_run(tmp_path / 'a', subsets=(ZOOMED,))
    (folder / 'metrics.json').unlink()
    assert [it.what for it in missing_of(read_run(folder, 'a'))] == ["a test on its config's own data"]


def test_a_folder_of_runs_is_refused_and_one_with_a_run_in_it_leaves_that_out(tmp_path):
    write_run(tmp_path / 'runs/a')
    write_run(tmp_path / 'runs/b', 1)
    with pytest.raises(ReportError, match=r'runs holds runs, and is none: give .*runs/\*'):
        read_run(tmp_path / 'runs', 'runs')
    own = write_run(tmp_path / 'own', subsets=(ZOOMED,))
    write_run(own / 'inner', 1)
    run = read_run(own, 'own')
    assert [it.subset for it in run.results] == ['', ZOOMED]
    assert any('inner: a run of its own' in it.what for it in missing_of(run))


def test_a_folder_of_tests_alone_is_a_run_if_they_are_of_one_model(tmp_path):
    write_result(tmp_path / 'x/mix', metrics(0))
    write_result(tmp_path / 'x/zoomed', metrics(0, ZOOMED))
    (tmp_path / 'x/mix/20260101_000000/vis_data').mkdir(parents=True)
    assert len(read_run(tmp_path / 'x', 'x').results) == 2
    for index, given in enumerate(({'config': 'configs/other.py'}, {'checkpoint': 'work_dirs/other/epoch_2.pth'})):
        write_result(tmp_path / f'{index}/mix', metrics(0))
        write_result(tmp_path / f'{index}/zoomed', metrics(0, ZOOMED, **given))
        with pytest.raises(ReportError, match='holds runs'):
            read_run(tmp_path / str(index), 'x')
