"""Train a detector from a config file."""

import argparse
import os

from mmengine.config import Config

from damamba.cli.commands import command_parser
from damamba.cli.common import add_shared, build_runner, load_config, logger, run, settle_shared
from damamba.cli.options import OptionAction
from damamba.engine.amp import WRAPPERS, use_amp
from damamba.engine.config_checks import ConfigError
from damamba.engine.launch import restarts
from damamba.engine.resuming import AUTO, RESTARTED
from damamba.types import name_of


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line; flags of MMDetection 2.x work, or say what replaced them."""
    parser = command_parser('train', __doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--resume',
        nargs='?',
        const=AUTO,
        metavar='PATH',
        help='go on from this checkpoint, or from the newest one in the work folder; if there is none, start anew',
    )
    parser.add_argument(
        '--amp', action='store_true', help='train in mixed precision: bfloat16, or float16 on GPUs without it'
    )
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate with the total batch')
    parser.add_argument('--seed', type=int, metavar='N', help='of all random numbers')
    parser.add_argument('--diff-seed', action='store_true', help='another seed for each process')
    parser.add_argument('--deterministic', action='store_true', help='use deterministic algorithms only')
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate while training')
    add_shared(parser)
    parser.add_argument('--resume-from', help=argparse.SUPPRESS)
    parser.add_argument('--auto-resume', action='store_true', help=argparse.SUPPRESS)
    parser.add_argument('--options', nargs='+', action=OptionAction, default={}, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    settle_shared(parser, args)
    _settle_old(args)
    return args


def _settle_old(args: argparse.Namespace) -> None:
    if args.resume_from or args.auto_resume:
        args.resume = args.resume_from or AUTO
        logger.warning('--resume-from PATH and --auto-resume are the old way: --resume PATH and --resume')
    if args.options:
        args.cfg_options = {**args.options, **args.cfg_options}
        logger.warning('--options is the old way: --cfg-options')


def configure(args: argparse.Namespace) -> Config:
    """Return the config with the command line in it."""
    resume = '--resume' if args.resume else None
    cfg = load_config(args, resume=resume, load_from=None if args.resume == AUTO else resume)
    if not cfg.get('train_dataloader'):
        raise ConfigError(f'{args.config} has no train_dataloader: nothing to train on')
    if args.amp:
        cfg.optim_wrapper.setdefault('type', 'OptimWrapper')
        if name_of(cfg.optim_wrapper) not in WRAPPERS:
            raise ConfigError(f'--amp does not go with optim_wrapper.type={name_of(cfg.optim_wrapper)!r}')
        use_amp(cfg.optim_wrapper)
    if args.auto_scale_lr:
        cfg.auto_scale_lr = {**(cfg.get('auto_scale_lr') or {}), 'enable': True}
    if args.no_validate:
        cfg.update(val_cfg=None, val_dataloader=None, val_evaluator=None)
    given = dict(seed=args.seed, deterministic=args.deterministic or None, diff_rank_seed=args.diff_seed or None)
    cfg.randomness = {**cfg.get('randomness', {'seed': None}), **{k: v for k, v in given.items() if v is not None}}
    if args.deterministic:
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # cuBLAS wants it set before CUDA starts
    if restarts():
        cfg[RESTARTED] = True  # whether it has left a checkpoint is asked once, for all processes
    if args.resume == AUTO:
        cfg.resume = AUTO  # without a checkpoint this is a new training, load_from included
    elif args.resume:
        cfg.resume, cfg.load_from = True, args.resume
    return cfg


def train(argv: list[str] | None = None) -> None:
    """Parse, build, train."""
    build_runner(configure(parse(argv)), ('train', 'val')).train()


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    run(train, argv)
