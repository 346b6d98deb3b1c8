"""What the commands that run a config share: their arguments, the flags of MMDetection 2.x, the config."""

# isort: off
import damamba.register  # noqa: F401  the first import: its error says how to mend an mmcv without operators
# isort: on

import argparse
import copy
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from damamba.checkpoint import CheckpointError, trust_checkpoints
from damamba.cli.commands import typed_as
from damamba.cli.options import add_pairs
from damamba.datasets.categories import DatasetError
from damamba.engine.config import read_config, use_our_metric
from damamba.engine.config_checks import ConfigError
from damamba.engine.config_parts import check_parts, error_of_building
from damamba.engine.finite import NotFiniteError
from damamba.engine.launch import leave, resumes_by_itself
from damamba.engine.preemption import Interrupted
from damamba.engine.resuming import AUTO, RESTARTED, newest_checkpoint
from damamba.engine.runner import DAMambaRunner
from damamba.engine.workers import fate_of_worker
from damamba.evaluation.coco_ap import EvaluationError
from damamba.models import ArgumentError

logger = logging.getLogger('damamba.cli')


def add_shared(parser: argparse.ArgumentParser) -> None:
    """Arguments that training and testing both take."""
    parser.add_argument(
        '--work-dir',
        metavar='DIR',
        help='where logs and results go, each run in a folder of its own; by default work_dirs/<name of the config>',
    )
    add_pairs(
        parser,
        '--cfg-options',
        'settings that override the config, or variables at its top, such as data_root=/data/coco '
        'train_dataloader.batch_size=1; lists as KEY="[a,b]" or KEY=a,b, a text in quotes whatever it looks like; '
        '+KEY=VALUE also where nothing is known to read it',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes were started; the scripts set it',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='read checkpoints that carry more than weights, and run the code they carry',
    )
    for flag in ('--gpu-id', '--gpu-ids', '--gpus'):
        parser.add_argument(flag, nargs='+', type=int, help=argparse.SUPPRESS)


def settle_shared(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Act on the shared arguments that do not go into the config."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    ids = (args.gpu_id or []) + (args.gpu_ids or [])
    if args.launcher == 'none' and (ids or args.gpus):
        _refuse_gpus(parser, ids, (args.gpus or [len(ids)])[0])
    if args.trust_checkpoint:
        trust_checkpoints()


def _refuse_gpus(parser: argparse.ArgumentParser, ids: list[int], count: int) -> None:
    """Say what replaced MMDetection 2.x's choice of GPUs: CUDA is up before a flag could be heeded."""
    visible = f'CUDA_VISIBLE_DEVICES={",".join(map(str, ids))} ' if ids else ''
    script = 'dist_train.sh CONFIG' if 'train' in parser.prog else 'dist_test.sh CONFIG CHECKPOINT'
    single = f'{typed_as(parser.prog)} {script.split(" ", 1)[1]}'
    command = f'bash {script} {count}' if count > 1 else single
    parser.error(f'--gpus, --gpu-id and --gpu-ids are no more: {visible}{command}')


def load_config(args: argparse.Namespace, **overridden: str | None) -> Config:
    """Read the config file with the command line in it (:func:`damamba.engine.config.read_config`).

    Args:
        args: of the command line.
        overridden: settings, and what of the command line says them.
    """
    for key, flag in {
        'launcher': '--launcher',
        'work_dir': '--work-dir' if args.work_dir else None,
        **overridden,
    }.items():
        if flag and {key, f'+{key}'} & args.cfg_options.keys():
            raise ConfigError(f'{key} of --cfg-options changes nothing: {flag} says it')
    cfg = read_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir or not cfg.get('work_dir'):
        cfg.work_dir = args.work_dir or str(Path('work_dirs') / Path(args.config).stem)
    return cfg


def build_runner(cfg: Config, splits: tuple[str, ...]) -> Runner:
    """Build the runner that the config names, by default ours, once the data of ``splits`` is there."""
    check_parts(cfg, splits)
    if cfg.get('runner_type', 'DAMambaRunner') == 'DAMambaRunner':
        return DAMambaRunner.from_cfg(cfg)
    cfg = copy.deepcopy(cfg)
    use_our_metric(cfg)
    again = cfg.pop(RESTARTED, False) and resumes_by_itself(Path(cfg.work_dir))
    if again or cfg.get('resume') == AUTO:
        newest, _ = newest_checkpoint(Path(cfg.work_dir))
        cfg.resume, cfg.load_from = newest is not None, newest or cfg.get('load_from')
    return RUNNERS.build(cfg)


def run(command: Callable[[list[str] | None], None], argv: list[str] | None = None) -> None:
    """Run a command; show what the user can mend as one message, and exit with 1.

    The group is left after success, and after a signal that all processes have agreed on: a process that fails must
    end at once, for torchrun to end the others.
    """
    try:
        command(argv)
    except Interrupted:
        leave()
        raise
    except (CheckpointError, ConfigError, ArgumentError, DatasetError, EvaluationError, NotFiniteError) as error:
        _fail(error)
    except Exception as error:
        text = error_of_building(error) or fate_of_worker(error)
        if not text:
            raise
        _fail(text)
    leave()


def _fail(error: Exception | str) -> NoReturn:
    """Show an error without its traceback, here and in the summary that torchrun ends with."""
    rank = os.environ.get('RANK', '0')
    text = f'error{"" if rank == "0" else f" (rank {rank})"}: {error}'
    if 'TORCHELASTIC_ERROR_FILE' in os.environ:
        Path(os.environ['TORCHELASTIC_ERROR_FILE']).write_text(json.dumps({'message': text}))
    sys.stderr.write(f'{text}\n')
    sys.exit(1)
