"""The live line, on a pseudo-terminal, in a process of its own: what is shown, and what the log file keeps."""

import atexit
import contextlib
import logging
import os
import pty
import re
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from damamba.cli import train as train_command
from damamba.engine.progress import _is_no_iteration
from tests.detection import write_config

LIVE = "custom_hooks = [dict(type='ProgressHook')]\n"
FAILING = "custom_hooks = [dict(type='ProgressHook'), dict(type='FailingHook')]\n"
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU is not to be shared with forked processes')
HIDE, SHOW = '\x1b[?25l', '\x1b[?25h'  # the cursor


@HOOKS.register_module()
class FailingHook(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if batch_idx == 2:
            raise RuntimeError('the third step fails')


def train_on_a_terminal(config: Path, work_dir: Path) -> tuple[int, str]:
    """Train in a forked process on a pseudo-terminal; return its status and all that it showed."""
    child, terminal = pty.fork()
    if not child:
        _train_and_end([str(config), '--work-dir', str(work_dir)])
    shown = b''
    with contextlib.suppress(OSError):  # Linux's sign that the other side is closed
        while part := os.read(terminal, 65536):
            shown += part
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()


def _train_and_end(argv: list[str]) -> NoReturn:
    """What the interpreter does around a command, without pytest's output and ends."""
    status = 1
    try:
        os.environ.update(TERM='xterm', COLUMNS='160', LINES='40')
        sys.stdout, sys.stderr = (os.fdopen(fd, 'w', buffering=1) for fd in (1, 2))
        atexit._clear()
        train_command.main(argv)
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(status)


def logs(work_dir: Path) -> str:
    return '\n'.join(path.read_text() for path in work_dir.rglob('*.log'))


@pytest.fixture(scope='module', params=[pytest.param('', marks=no_gpu)], ids=['forked'])
def run(tmp_path_factory, coco) -> tuple[str, str, str]:
    """What a terminal got, the same without its control sequences, and the log file."""
    folder = tmp_path_factory.mktemp('live')
    config = write_config(folder / 'live.py', coco, extra=LIVE)
    status, shown = train_on_a_terminal(config, folder / 'run')
    assert status == 0, shown[-3000:]
    return shown, re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', shown), logs(folder / 'run')


def test_the_line_shows_epoch_iterations_time_left_and_loss(run):
    _, plain, _ = run
    assert re.search(r'epoch 1/1 .*4/4 left \d:\d\d:\d\d loss \d+\.\d{3}', plain)
    assert 'epoch 1/1, validating' in plain


def test_the_line_ends_with_the_last_map_and_no_longer_says_validating(run):
    progress, summary = run[1].rstrip().splitlines()[-2:]
    assert summary.endswith('0 images left out; 0 steps skipped')
    last = progress.split('\r')[-1]
    assert re.search(r'epoch 1/1 .* loss \d+\.\d{3}  box mAP \d\.\d{3}  mask mAP \d\.\d{3}', last)


def test_lines_of_single_iterations_go_to_the_log_file_alone(run):
    _, plain, log = run
    assert 'Epoch(train)' not in plain and 'Epoch(val)' not in plain
    assert log.count('Epoch(train)') == 4 and 'Epoch(val) [1][3/3]' in log and '\x1b' not in log


def test_other_news_is_shown_once(run):
    _, plain, log = run
    for news in ('COCO, 3 images, 6 objects', 'Training from scratch', 'Saving checkpoint at 1 epochs'):
        assert plain.count(news) == log.count(news) == 1


def test_the_cursor_is_hidden_once_and_given_back(run):
    shown, _, _ = run
    assert shown.count(HIDE) == 1 and shown.rindex(SHOW) > shown.index(HIDE)


@no_gpu
def test_a_training_that_fails_gives_the_cursor_back(coco, tmp_path):
    config = write_config(tmp_path / 'live.py', coco, extra=FAILING)
    status, shown = train_on_a_terminal(config, tmp_path / 'run')
    assert status == 1 and 'RuntimeError: the third step fails' in shown
    assert 'loss' in shown and shown.rindex(SHOW) > shown.rindex(HIDE)


def test_without_a_terminal_the_log_lines_appear_as_usual(coco, tmp_path, capsys):
    config = write_config(tmp_path / 'quiet.py', coco, extra=LIVE)
    train_command.train([str(config), '--work-dir', str(tmp_path / 'run'), '--no-validate'])
    shown = capsys.readouterr().out
    assert shown.count('Epoch(train)') == 4 and HIDE not in shown and not re.search(r' left \d', shown)


@pytest.mark.parametrize(
    ('line', 'is_shown'),
    [
        ('Epoch(train) [1][ 20/100]  loss: 1.0', False),
        ('Epoch(val) [1][ 2/3]', False),
        ('Iter(train) [ 20/100]  loss: 1.0', False),  # of a training that counts iterations alone
        ('Saving checkpoint at 1 epochs', True),
    ],
)
def test_lines_are_told_apart_by_how_they_begin(line, is_shown):
    record = logging.LogRecord('mmengine', logging.INFO, '', 0, line, None, None)
    assert _is_no_iteration(record) == is_shown


def test_handlers_are_as_before_when_the_training_has_ended(monkeypatch):
    """The stream of a log handler and its filters, around a bar that lives on a terminal."""
    from types import SimpleNamespace

    import damamba.engine.progress as progress

    monkeypatch.setattr(sys.stdout, 'isatty', lambda: True, raising=False)
    monkeypatch.setattr(progress, 'is_main_process', lambda: True)
    logger = logging.Logger('mine')
    handlers = [logging.StreamHandler(sys.stdout), logging.StreamHandler(sys.stderr)]
    before = [(handler.stream, list(handler.filters)) for handler in handlers]
    for handler in handlers:
        logger.addHandler(handler)
    runner = SimpleNamespace(max_iters=4, iter=0, logger=logger)
    hook = progress.ProgressHook()
    hook.before_train(runner)
    assert all(handler.filters for handler in handlers)
    hook.after_train(runner)
    assert [(handler.stream, list(handler.filters)) for handler in handlers] == before
