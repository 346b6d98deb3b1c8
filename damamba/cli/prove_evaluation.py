"""Prove the evaluation of a config: ground truth as predictions scores 1.000, and known faults are seen."""

import argparse
import json
from pathlib import Path

from mmengine.config import Config

from damamba.cli.commands import command_parser
from damamba.cli.common import run
from damamba.cli.console import say
from damamba.cli.options import add_pairs
from damamba.engine.config import read_config, use_our_metric
from damamba.engine.config_checks import check_files, stand_ins
from damamba.evaluation.proof.claims import Proof
from damamba.evaluation.proof.prove import prove

IMAGES = 100


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser('prove-evaluation', __doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--images',
        type=int,
        default=IMAGES,
        metavar='N',
        help='on how many pictures of the ground truth: 100; more where each class needs one',
    )
    parser.add_argument('--seed', type=int, default=0, metavar='S', help='another seed, other pictures: 0')
    parser.add_argument('--json', type=Path, metavar='OUT', help='write the proof to this file too')
    add_pairs(parser, '--cfg-options', 'override the config, such as test_subset=same-object-transfer-set')
    args = parser.parse_args(argv)
    if args.images < 1:
        parser.error(f'--images must be at least 1, got {args.images}')
    if args.seed < 0:
        parser.error(f'--seed must be at least 0, got {args.seed}')
    if args.json and not args.json.absolute().parent.is_dir():
        parser.error(f'--json: {args.json.parent} is not a folder')
    return args


def prove_config(cfg: Config, images: int = IMAGES, seed: int = 0) -> Proof:
    """Prove a config's evaluation, and show it; the proof may have failed."""
    for note in filter(None, [use_our_metric(cfg)]):
        say(note)
    check_files(cfg, ('test',))
    for path, other in stand_ins(cfg.get('test_dataloader') or {}):
        say(f'{path} is not there: testing on {other}')
    proof = prove(cfg, images, seed)
    say(proof.table())
    return proof


def show(argv: list[str] | None = None) -> None:
    """Parse, prove, write."""
    args = parse(argv)
    cfg = read_config(args.config, args.cfg_options)
    proof = prove_config(cfg, args.images, args.seed)
    if args.json:
        args.json.write_text(json.dumps(proof.to_dict(), indent=2), encoding='utf-8')
    proof.require()


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    run(show, argv)
