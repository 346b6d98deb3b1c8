"""Search hyper-parameters of a config on validation mask mAP; trials are trainings in processes of their own."""

import argparse
import contextlib
import math
import os
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

try:
    import optuna
    from sqlalchemy import URL
except ModuleNotFoundError as error:
    sys.exit(f"error: tuning needs Optuna ({error}): pip install '.[tuning]' in the checkout, or optuna alone")

from damamba.cli.commands import command_parser
from damamba.cli.common import run
from damamba.cli.console import say
from damamba.cli.options import add_pairs
from damamba.engine.config_checks import ConfigError
from damamba.engine.config_parts import check_parts
from damamba.tuning import TuningError, plots, results
from damamba.tuning.lost_trials import ended
from damamba.tuning.space import preset, read_space
from damamba.tuning.storage import open_storage, shown
from damamba.tuning.study import Task, make_pruner, make_sampler, open_study, queue_own_values
from damamba.tuning.training import Training, last_epoch, start_dying_with_us, train_command
from damamba.tuning.worker import StoppedError, Worker

TRAIN = train_command  # what a trial runs
STORAGE = 'DAMAMBA_STORAGE'  # hands --storage over: command lines are seen by everybody on a machine


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser('tune', __doc__)
    parser.add_argument('config', type=Path, help='config file')
    _add_study(parser)
    _add_processes(parser)
    add_pairs(
        parser, '--cfg-options', 'settings of every trial, such as data_root=/data/coco max_epochs=2; not of best.py'
    )
    args = parser.parse_args(argv)
    if 'loss' in args.metric:
        parser.error('--metric is a figure of the validation, such as segm_mAP; a loss says little about masks')
    args.study = args.study or args.config.stem
    args.work_dir = args.work_dir or Path('work_dirs') / f'{args.study}_tuning'
    args.storage = args.storage or URL.create('sqlite', database=str(args.work_dir / 'study.db')).render_as_string()
    return args


def _add_study(parser: argparse.ArgumentParser) -> None:
    space = parser.add_mutually_exclusive_group(required=True)
    space.add_argument(
        '--space',
        type=Path,
        metavar='FILE',
        help="what to search: space = {'KEY': dict(type='float', low=1e-5, high=1e-3, log=True)}",
    )
    space.add_argument('--preset', choices=['lr', 'optimizer'], help="what to search: around the config's own values")
    parser.add_argument(
        '--trials', type=_count, required=True, metavar='N', help='trials of the study in all, not of this call'
    )
    parser.add_argument(
        '--storage',
        metavar='URL',
        default=os.environ.get(STORAGE),
        help='where the study lies: journal:FILE, sqlite:///FILE, postgresql://, mysql://; by default DAMAMBA_STORAGE '
        'or a file in the work folder',
    )
    parser.add_argument('--study', metavar='NAME', help='its name; by default that of the config')
    parser.add_argument(
        '--work-dir', type=Path, metavar='DIR', help='where trials and results go; by default work_dirs/<study>_tuning'
    )
    parser.add_argument(
        '--metric', default='segm_mAP', metavar='NAME', help='a figure of the validation, more is better: segm_mAP'
    )
    parser.add_argument(
        '--pruner', choices=['median', 'hyperband', 'none'], default='median', help='what ends weak trials'
    )
    parser.add_argument('--sampler', choices=['tpe', 'random'], default='tpe', help='what chooses the next values')
    parser.add_argument('--seed', type=_seed, metavar='S', help='seed of the choices')


def _add_processes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--workers', type=_count, default=1, metavar='K', help='trials at the same time on this machine: 1'
    )
    parser.add_argument('--gpus', type=_count, default=1, metavar='G', help='processes of a trial, a GPU for each: 1')
    seconds = dict(type=_seconds, default=math.inf, metavar='SECONDS')
    parser.add_argument('--timeout', **seconds, help='begin no trial after this time')
    parser.add_argument('--trial-timeout', **seconds, help='a trial that takes longer has failed')
    parser.add_argument(
        '--keep-checkpoints', action='store_true', help='keep the last one of every trial; by default trials write none'
    )
    parser.add_argument(
        '--trust-checkpoint', action='store_true', help='for load_from: run the code that a checkpoint carries'
    )
    parser.add_argument('--worker', type=int, help=argparse.SUPPRESS)  # which of --workers this is


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'must be a whole number of at least 1, got {text}')
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'must be a whole number of at least 0, got {text}')
    return int(text)


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f'must be a number of seconds above 0, got {text}')


def make_task(args: argparse.Namespace) -> Task:
    """What is to be tuned, once its config, data and space are there."""
    task = Task(args.config, [], args.work_dir, args.cfg_options, args.metric, args.keep_checkpoints, args.gpus)
    cfg = task.own_settings
    for name in ('train_dataloader', 'val_dataloader', 'val_evaluator'):
        if not cfg.get(name):
            raise ConfigError(f'{args.config} has no {name}: trials are trained, and compared on the validation')
    last_epoch(cfg)
    check_parts(cfg, ('train', 'val'))
    own = task.own_settings
    return replace(task, space=preset(args.preset, own) if args.preset else read_space(args.space, own))


def open_for(args: argparse.Namespace, task: Task) -> optuna.Study:
    """The study, with this process's own sampler."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter('ignore', optuna.exceptions.ExperimentalWarning)  # that a function may change
    warnings.filterwarnings('ignore', 'Heartbeat of storage')  # that our loop is not Optuna's
    study = open_study(open_storage(args.storage), args.study, task, make_pruner(args.pruner, args.trials))
    study.sampler = make_sampler(args.sampler, args.trials, args.seed, study)
    return study


def work(args: argparse.Namespace, task: Task, study: optuna.Study) -> None:
    """Take trials in this process."""
    flags = ('--trust-checkpoint',) if args.trust_checkpoint else ()
    command = partial(TRAIN, processes=args.gpus, flags=flags)
    name = '' if args.worker is None else f'worker {args.worker}: '
    training = Training(command, args.trial_timeout)
    Worker(study, task, training, args.trials, lambda text: say(f'{name}{text}'), args.timeout).run()


def start_workers(args: argparse.Namespace, argv: list[str]) -> list[subprocess.Popen]:
    """Start this command several times, each with its part of the cores and GPUs."""
    started = []
    words = _without_storage(argv)
    for index, share in enumerate(_shares(args)):
        seed = [] if args.seed is None else ['--seed', str(args.seed + index)]
        command = [sys.executable, '-m', 'damamba.cli.tune', *words, '--worker', str(index), *seed]
        started.append(start_dying_with_us(command, {**share, STORAGE: args.storage}))
    return started


def _without_storage(argv: list[str]) -> list[str]:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('--storage')
    return parser.parse_known_args(argv)[1]


def _shares(args: argparse.Namespace) -> list[dict[str, str]]:
    """The environment of each worker.

    Raises:
        TuningError: there are GPUs, and not enough of them.
    """
    count, gpus = args.workers, torch.cuda.device_count()
    if gpus and count * args.gpus > gpus:
        raise TuningError(f'--workers {count} --gpus {args.gpus} needs {count * args.gpus} GPUs: {gpus} can be seen')
    names = (os.environ.get('CUDA_VISIBLE_DEVICES') or ','.join(map(str, range(gpus)))).split(',')
    threads = os.environ.get('OMP_NUM_THREADS') or str(max(1, len(os.sched_getaffinity(0)) // count // args.gpus))
    shares = [{'OMP_NUM_THREADS': threads} for _ in range(count)]
    for index, share in enumerate(shares if gpus else ()):
        share['CUDA_VISIBLE_DEVICES'] = ','.join(names[index * args.gpus : (index + 1) * args.gpus])
    return shares


def await_workers(workers: list[subprocess.Popen]) -> None:
    """Wait for all; one that dies is named, and the others take over what it had."""
    left = dict(enumerate(workers))
    try:
        while left:
            for index, process in list(left.items()):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = process.wait(0.5)
                    left.pop(index)
                    if status:
                        others = 'the others go on' if left else 'no other is left'
                        say(f'worker {index} ended with status {status}; {others}')
    finally:
        for process in left.values():
            process.terminate()
        for process in left.values():
            process.wait()


def finish(args: argparse.Namespace, task: Task, study: optuna.Study) -> None:
    """Write and print what the study has found by now."""
    best = results.write_best(study, task, shown(args.storage))
    trials = results.write_trials(study, task)
    say(f'\n{results.table(study, task)}\n')
    drawn, missing = plots.draw_plots(study, task.metric, task.folder)
    for text in missing:
        say(text)
    for path in filter(None, (trials, *drawn, best)):
        say(f'wrote {path}')
    say(results.verdict(study, task) if best else 'no trial is complete: there is no best.py')


def tune(argv: list[str] | None = None) -> None:
    """Parse, take trials, write the results."""
    args = parse(argv)
    task = make_task(args)
    study = open_for(args, task)
    if args.worker is not None:
        work(args, task, study)
        return
    _announce(args, study)
    try:
        if len(ended(study)) < args.trials:
            _take_trials(args, task, study, sys.argv[1:] if argv is None else argv)
    except (KeyboardInterrupt, StoppedError) as error:
        finish(args, task, study)
        if isinstance(error, StoppedError):
            raise
        sys.exit(f'stopped with {_progress(args, study)}; the same command goes on')
    finish(args, task, study)
    if len(ended(study)) < args.trials:
        raise TuningError(f'{_progress(args, study)} are done; the same command goes on')
    if results.best_of(study) is None:
        raise TuningError('no trial is complete: the table says how each of them ended')


def _take_trials(args: argparse.Namespace, task: Task, study: optuna.Study, argv: list[str]) -> None:
    queue_own_values(study, task, say)
    if args.workers == 1:
        work(args, task, study)
    else:
        await_workers(start_workers(args, argv))


def _announce(args: argparse.Namespace, study: optuna.Study) -> None:
    say(f'study {study.study_name} in {shown(args.storage)}')
    if ended(study):
        say(f'{_progress(args, study)} are done{"" if len(ended(study)) < args.trials else ": nothing is left to do"}')


def _progress(args: argparse.Namespace, study: optuna.Study) -> str:
    return f'{len(ended(study))} of {args.trials} trials'


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cluster's word to stop is Ctrl-C
    try:
        run(tune, argv)
    except KeyboardInterrupt:
        sys.exit(130)  # before there was a trial, or in one of several workers


if __name__ == '__main__':
    main()
