"""What a run lacks, and the command that makes it."""

import shlex
from pathlib import Path

import pytest

from damamba.reporting.runs import read_run
from tests.reporting.runs import COCO, MIX, ZOOMED, edit, metrics, missing, proof, write_result, write_run

DETAILS = f'{COCO}.details'


def run_file(folder: Path) -> Path:
    return next(folder.glob('*/run.json'))


def test_a_whole_run_lacks_nothing_but_a_test_that_others_have(tmp_path):
    folder = write_run(tmp_path / 'a')
    assert missing(folder) == missing(write_run(tmp_path / 'refused', proof=proof(False), speed=None)) == {}
    ((what, command),) = missing(folder, [ZOOMED]).items()
    assert what == f'a test on {ZOOMED}' and command.endswith(f'--cfg-options test_subset={ZOOMED} --prove')


def test_an_old_test_lacks_what_a_new_one_writes_and_one_command_makes_all(tmp_path):
    folder = write_run(tmp_path / 'a', **dict.fromkeys(('command', 'processes', 'parameters', 'proof', 'speed')))
    edit(folder, {DETAILS: ..., f'{COCO}.scores.segm': ...})
    (folder / 'examples.json').unlink()
    run_file(folder).unlink()
    (training, what), (_, command) = missing(folder).items()
    assert 'run.json' in training and what is None
    expected = f'bash dist_test.sh configs/mine.py {folder}/epoch_2.pth 1 --eval bbox segm --work-dir {folder}'
    assert command == f'{expected} --eval-options details=True --prove'
    pieces = [piece.split(f' of {MIX}')[0].split(' (')[0] for piece in [*missing(folder)][1].split('; ')]
    names = ['proof of the evaluation', 'masks', 'details', 'example pictures', 'speed', 'number of its parameters']
    assert [piece.removeprefix('the ') for piece in pieces] == names


def test_a_validation_is_no_test_and_the_command_takes_the_last_checkpoint_and_the_config_in_the_folder(tmp_path):
    folder = write_run(tmp_path / 'a', split='val', epoch=3)
    (folder / 'last_checkpoint').write_text('/elsewhere/a/epoch_3.pth')
    (folder / 'epoch_3.pth').touch()
    (folder / 'mine.py').touch()
    assert read_run(folder, 'a').results == []
    ((what, command),) = missing(folder).items()
    assert what == 'a test (metrics.json is of the validation after epoch 3): no row in the tables'
    expected = f'bash dist_test.sh {folder}/mine.py {folder}/epoch_3.pth 1 --eval bbox segm --work-dir {folder} --prove'
    assert command == expected
    (folder / 'metrics.json').unlink()
    (folder / 'last_checkpoint').unlink()
    (folder / 'epoch_3.pth').unlink()
    assert f'mine.py {folder}/epoch_2.pth' in missing(folder)['a test: no row in the tables']
    write_result(folder / ZOOMED, metrics(0, ZOOMED))
    assert [*missing(folder)] == ["a test on its config's own data"]


def test_logs_that_are_not_there_or_empty_or_without_validations_are_named(tmp_path):
    folder = write_run(tmp_path / 'a')
    (path,) = folder.glob('*/vis_data/scalars.json')
    path.write_text('\n'.join(line for line in path.read_text().splitlines() if '"loss"' in line))
    assert [*missing(folder)] == ['validations in its log: no curve of mAP']
    for write in (lambda: path.write_text(''), path.unlink):
        write()
        ((what, command),) = missing(folder).items()
        assert 'the log of its training' in what
        assert command == f'bash dist_train.sh configs/mine.py 1 --work-dir {folder}'


@pytest.mark.parametrize(
    ('started', 'since'), [('2026-01-03T00:00:00+00:00', True), ('2026-01-03T00:00:00Z', True), ('yesterday', False)]
)
def test_figures_of_an_earlier_training_are_named(tmp_path, started, since):
    folder = write_run(tmp_path / 'a')
    edit(run_file(folder), {'started': started})
    assert any('since it was trained again' in what for what in missing(folder)) == since


def retest(folder: Path, command: str) -> list[str]:
    """The command that proves what was tested by ``command``."""
    ((_, again),) = missing(write_run(folder, proof=None, command=command)).items()
    return shlex.split(again)


def test_a_run_is_tested_again_as_it_was_tested(tmp_path):
    typed = shlex.split('NNODES=2 bash dist_test.sh c.py e.pth 2 --eval bbox --tag "a b"')
    assert retest(tmp_path / 'a', shlex.join(typed)) == [*typed, '--work-dir', f'{tmp_path}/a', '--prove']
    for name, start in {'b': ['python', '-m', 'damamba'], 'c': ['.venv/bin/damamba']}.items():
        module = [*start, 'test', 'c.py', 'e.pth']
        assert retest(tmp_path / name, shlex.join(module)) == [*module, '--work-dir', f'{tmp_path}/{name}', '--prove']


@pytest.mark.parametrize(
    'command',
    ['bash dist_test.sh c.py "e.pth 2', 'python tools/demo.py mytest/test', 'python -m damamba demo test', ''],
)
def test_a_command_with_an_open_quote_or_of_something_else_is_made_by_the_folder(tmp_path, command):
    expected = ['bash', 'dist_test.sh', 'configs/mine.py', f'{tmp_path}/a/epoch_2.pth', '2']
    assert retest(tmp_path / 'a', command)[:5] == expected


@pytest.mark.parametrize('told', ['--work-dir work_dirs/mine', '--work-dir=work_dirs/mine'])
def test_a_moved_folder_is_tested_where_it_lies(tmp_path, monkeypatch, told):
    command = f'python tools/test.py configs/mine.py work_dirs/mine/epoch_2.pth {told} --eval segm'
    folder = f'{tmp_path}/a'
    expected = f'python tools/test.py configs/mine.py {folder}/epoch_2.pth --work-dir {folder} --eval segm --prove'
    assert shlex.join(retest(tmp_path / 'a', command)) == expected
    monkeypatch.chdir(tmp_path)  # and one that was not moved as before
    command = 'python tools/test.py configs/mine.py work_dirs/mine/epoch_2.pth'
    assert retest(Path('work_dirs/mine'), command) == [*command.split(), '--prove']


def test_details_that_were_turned_off_are_turned_on(tmp_path):
    command = 'python tools/test.py c.py e.pth --eval-options details=False classwise=True'
    folder = write_run(tmp_path / 'a', command=command)
    edit(folder, {DETAILS: ...})
    ((_, again),) = missing(folder).items()
    assert '--eval-options details=True classwise=True' in again and 'False' not in again
