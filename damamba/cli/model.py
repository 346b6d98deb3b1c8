"""Which detector a command uses, and where: what predict, explain and serve share."""

import argparse
import errno
import os
from pathlib import Path

from torch import nn

from damamba.checkpoint import trust_checkpoints
from damamba.cli.console import say
from damamba.cli.options import add_pairs
from damamba.engine.config_checks import ConfigError
from damamba.inference.detector import init_detector
from damamba.inference.predictor import Predictor, usable_device
from damamba.inference.published import resolve


def add_model(parser: argparse.ArgumentParser) -> None:
    """Arguments that say which detector is used, and where."""
    parser.add_argument(
        '--config', metavar='CONFIG', help="config file, or a published model's name; by default the demo's"
    )
    parser.add_argument('--checkpoint', metavar='FILE', help='weights: a path or URL; needed with a config file')
    parser.add_argument('--device', default='auto', metavar='D', help='auto (a GPU, where there is one), cpu, cuda:1')
    parser.add_argument('--revision', default='main', metavar='R', help='of the published weights: main')
    parser.add_argument(
        '--trust-checkpoint', action='store_true', help='read a checkpoint that carries code, and run that code'
    )
    add_pairs(parser, '--cfg-options', 'override the config')


def build_predictor(args: argparse.Namespace, **options) -> Predictor:
    """What the arguments of :func:`add_model` name, to be given pictures."""
    config, checkpoint = _resolved(args)
    return Predictor(config, checkpoint, args.device, cfg_options=args.cfg_options, **options)


def build_model(args: argparse.Namespace) -> nn.Module:
    """What they name, as it was trained: nothing is folded."""
    config, checkpoint = _resolved(args)
    return init_detector(config, checkpoint, usable_device(args.device), args.cfg_options, fuse=False)


def _resolved(args: argparse.Namespace) -> tuple[str, str]:
    """Config and checkpoint; says which, where they were not both named."""
    if args.trust_checkpoint:
        trust_checkpoints()
    config, checkpoint = resolve(args.config, args.checkpoint, args.revision)
    if args.config is None or args.checkpoint is None:
        say(f'model: {config} with {checkpoint}')
    return config, checkpoint


def make_folder(folder: Path) -> None:
    """Make a folder for results, where there is none.

    Raises:
        ConfigError: nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ConfigError(f'{folder} can not be written to: {error.strerror}') from error
