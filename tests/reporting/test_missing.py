"""What a run lacks, and the command that makes it."""

import json
import shlex
from pathlib import Path

import pytest

from damamba.reporting.runs import read_run
from tests.reporting.runs import change, load, metrics, missing, old, write_run

ZOOMED = 'zoomed-out-tote-transfer-set'


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
    assert shlex.split(again) == [*words[:at], 'details=True', *words[at:], '--work-dir', str(folder), '--prove']


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


def test_figures_of_an_earlier_training_are_named(tmp_path):
    folder = write_run(tmp_path / 'a')
    change(next(folder.glob('*/run.json')), started='2026-01-03T00:00:00+00:00')
    assert any('since it was trained again' in what for what in missing(folder))


@pytest.mark.parametrize('date', ['2026-01-03T00:00:00Z', 'yesterday'])
def test_dates_of_other_kinds_are_no_error(tmp_path, date):
    folder = write_run(tmp_path / 'a')
    change(next(folder.glob('*/run.json')), started=date)
    assert any('since it was trained again' in what for what in missing(folder)) == date.endswith('Z')


def retest(folder, **given) -> list[str]:
    """The command that proves what was tested so."""
    ((_, command),) = missing(write_run(folder, proof=None, **given)).items()
    return shlex.split(command)


def test_a_command_with_an_open_quote_or_of_something_else_is_made_by_the_folder(tmp_path):
    for name, command in (
        ('a', 'bash dist_test.sh c.py "e.pth 2'),
        ('b', 'python tools/demo.py mytest/test'),
        ('c', 'python -m damamba demo test'),
    ):
        assert retest(tmp_path / name, command=command)[:3] == ['bash', 'dist_test.sh', 'configs/mine.py']
    assert retest(tmp_path / 'd', command='python -m damamba test c.py e.pth')[:4] == [
        'python',
        '-m',
        'damamba',
        'test',
    ]


def test_a_moved_folder_is_tested_where_it_lies(tmp_path):
    here, old = tmp_path / 'a', 'work_dirs/mine/epoch_2.pth'
    words = retest(here, command=f'python tools/test.py configs/mine.py {old} --work-dir work_dirs/mine --eval segm')
    expected = ['configs/mine.py', f'{here}/epoch_2.pth', '--work-dir', str(here), '--eval', 'segm', '--prove']
    assert words == ['python', 'tools/test.py', *expected]


def test_a_folder_that_was_not_moved_is_tested_as_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = 'python tools/test.py configs/mine.py work_dirs/mine/epoch_2.pth'
    assert retest(Path('work_dirs/mine'), command=command) == [*command.split(), '--prove']


def test_details_that_were_turned_off_are_turned_on(tmp_path):
    content = metrics(0, command='python tools/test.py c.py e.pth --eval-options details=False classwise=True')
    del content['evaluations']['coco']['details']
    ((_, command),) = missing(write_run(tmp_path / 'a', **content)).items()
    assert '--eval-options details=True classwise=True' in command and 'False' not in command
