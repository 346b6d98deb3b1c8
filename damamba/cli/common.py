"""What the commands that run a config share: their arguments, the flags of MMDetection 2.x, the config."""

# isort: off
import damamba.register  # noqa: F401  the first import: its error says how to mend an mmcv without operators
# isort: on

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from damamba.checkpoint import CheckpointError, trust_checkpoints
from damamba.engine.config import ConfigError, check_annotations, refuse_version_2, spread_data_root
from damamba.engine.launch import leave
from damamba.engine.runner import DAMambaRunner

logger = logging.getLogger('damamba.cli')


def add_shared(parser: argparse.ArgumentParser) -> None:
    """Arguments that training and testing both take."""
    parser.add_argument('--work-dir', help='where logs and results go; by default work_dirs/<name of the config>')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='settings that override the config, such as data_root=/data/coco train_dataloader.batch_size=1; '
        'lists as KEY="[a,b]" or KEY=a,b, without white space',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
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
    script = 'dist_train.sh CONFIG' if parser.prog.startswith('train') else 'dist_test.sh CONFIG CHECKPOINT'
    ids = (args.gpu_id or []) + (args.gpu_ids or [])
    if len(ids) > 1 or (args.gpus and args.gpus[0] > 1):
        parser.error(f'several GPUs are now used through the launcher: bash {script} {len(ids) or args.gpus[0]}')
    if ids:
        os.environ['CUDA_VISIBLE_DEVICES'] = str(ids[0])
        logger.warning('--gpu-id is the old way: CUDA_VISIBLE_DEVICES=%d was set', ids[0])
    if args.gpus:
        logger.warning('--gpus is the old way and has no effect: without a launcher one process runs')
    if args.trust_checkpoint:
        trust_checkpoints()


def load_config(args: argparse.Namespace) -> Config:
    """Read the config file and merge the command line into it.

    Raises:
        ConfigError: the file does not exist, or is written for MMDetection 2.x.
    """
    if not Path(args.config).is_file():
        raise ConfigError(f'{args.config} does not exist; wanted a config file, such as those in configs/')
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    refuse_version_2(cfg)
    cfg.launcher = args.launcher
    if args.work_dir or not cfg.get('work_dir'):
        cfg.work_dir = args.work_dir or str(Path('work_dirs') / Path(args.config).stem)
    return cfg


def build_runner(cfg: Config, splits: tuple[str, ...]) -> Runner:
    """Build the runner that the config names, by default ours, once the annotations of ``splits`` are there."""
    spread_data_root(cfg)
    check_annotations(cfg, splits)
    return RUNNERS.build(cfg) if 'runner_type' in cfg else DAMambaRunner.from_cfg(cfg)


def run(command: Callable[[list[str] | None], None], argv: list[str] | None = None) -> None:
    """Run a command; show what the user can mend as one message, and exit with 1."""
    try:
        command(argv)
    except (CheckpointError, ConfigError) as error:
        rank = os.environ.get('RANK', '0')
        sys.stderr.write(f'error{"" if rank == "0" else f" (rank {rank})"}: {error}\n')
        sys.exit(1)
    finally:
        leave()
