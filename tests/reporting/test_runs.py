"""Work folders: what is read of them, what is missing and how to make it, what is refused, what may share a table."""

import json
import random
import shlex

import pytest

from damamba.reporting.missing import missing_of
from damamba.reporting.runs import Dataset, ReportError, read_run, read_runs
from damamba.reporting.sections import sections_of
from tests.reporting.runs import evaluation, load, metrics, proof, write_run

ZOOMED = 'zoomed-out-tote-transfer-set'
FAULT = {'name': 'shifted', 'evidence': '9 of 9 detections have the next id'}


def change(path, **given) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **given}))


def missing(folder, tested=()) -> dict[str, str | None]:
    return {it.what: it.command for it in missing_of(read_run(folder, 'a'), tested)}


def old(content: dict) -> dict:
    """What metrics.json was before it named the data set, the command and the parameters."""
    return {key: it for key, it in content.items() if key not in ('command', 'processes', 'parameters', 'dataset')}


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


def test_an_old_test_lacks_what_a_new_one_writes_and_one_command_makes_all(tmp_path):
    folder = write_run(tmp_path / 'a')
    content = old(load(folder))
    content['evaluations'] = {'coco': {k: v for k, v in content['evaluations']['coco'].items() if k != 'details'}}
    (folder / 'metrics.json').write_text(json.dumps({**content, 'proof': None, 'speed': None}))
    (folder / 'examples.json').unlink()
    for path in folder.glob('*/run.json'):
        path.unlink()
    (training,) = [what for what, command in missing(folder).items() if command is None]
    assert 'run.json' in training
    ((what, command),) = [(what, command) for what, command in missing(folder).items() if command]
    for piece in ('proof', 'details', 'example pictures', 'speed', 'parameters'):
        assert piece in what
    expected = f'bash dist_test.sh configs/mine.py {folder}/epoch_2.pth 1 --eval bbox segm --work-dir {folder}'
    assert command == f'{expected} --eval-options details=True --prove'


def test_a_run_is_tested_again_as_it_was_tested(tmp_path):
    command = 'NNODES=2 bash dist_test.sh c.py e.pth 2 --eval bbox --eval-options classwise=True --tag "a b"'
    folder = write_run(tmp_path / 'a', proof=None, command=command)
    content = load(folder)
    del content['evaluations']['coco']['details']
    (folder / 'metrics.json').write_text(json.dumps(content))
    ((_, again),) = missing(folder).items()
    words = shlex.split(command)
    at = words.index('--eval-options') + 1
    assert shlex.split(again) == [*words[:at], 'details=True', *words[at:], '--prove']


def test_a_validation_is_no_test_and_the_command_takes_the_last_checkpoint_and_the_config_in_the_folder(tmp_path):
    folder = write_run(tmp_path / 'a', split='val', epoch=3)
    (folder / 'last_checkpoint').write_text('/elsewhere/a/epoch_3.pth')
    (folder / 'epoch_3.pth').touch()
    (folder / 'mine.py').touch()
    run = read_run(folder, 'a')
    assert run.results == [] and run.validation['epoch'] == 3
    ((what, command),) = missing(folder).items()
    assert 'after epoch 3' in what
    expected = f'bash dist_test.sh {folder}/mine.py {folder}/epoch_3.pth 1 --eval bbox segm --work-dir {folder} --prove'
    assert command == expected


def test_without_any_figures_the_newest_checkpoint_is_tested(tmp_path):
    folder = write_run(tmp_path / 'a')
    (folder / 'metrics.json').unlink()
    ((what, command),) = missing(folder).items()
    assert what.startswith('a test') and f'configs/mine.py {folder}/epoch_2.pth' in command


def test_a_test_that_others_have_is_missing(tmp_path):
    ((what, command),) = missing(write_run(tmp_path / 'a'), [ZOOMED]).items()
    assert what == f'a test on {ZOOMED}' and command.endswith(f'--cfg-options test_subset={ZOOMED} --prove')


def test_logs_that_are_not_there_or_empty_or_without_validations_are_named(tmp_path):
    folder = write_run(tmp_path / 'a')
    (path,) = folder.glob('*/vis_data/scalars.json')
    rows = [line for line in path.read_text().splitlines() if '"loss"' in line]
    path.write_text('\n'.join(rows))
    assert [what.split(':')[0] for what in missing(folder)] == ['validations in its log']
    for write in (lambda: path.write_text(''), path.unlink):
        write()
        ((what, command),) = missing(folder).items()
        assert 'the log of its training' in what and command.startswith('bash dist_train.sh configs/mine.py')


@pytest.mark.parametrize('text', ['{"split": "te', '[1, 2]'])
def test_a_file_that_can_not_be_read_is_named(tmp_path, text):
    folder = write_run(tmp_path / 'a')
    (folder / 'metrics.json').write_text(text)
    found = missing(folder)
    assert f'{folder}/metrics.json, which can not be read' in found and any(it.startswith('a test') for it in found)


def test_figures_of_an_earlier_training_are_named(tmp_path):
    folder = write_run(tmp_path / 'a')
    change(next(folder.glob('*/run.json')), started='2026-01-03T00:00:00+00:00')
    assert any('since it was trained again' in what for what in missing(folder))


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
    assert labels[2] == 'mix-object-tote, 3 pictures, 41 objects' and 'SHA-256 bbbbbbbb' in labels[1]
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
