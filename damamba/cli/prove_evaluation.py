"""Prove the evaluation of a config: ground truth as predictions scores 1.000, and known faults are seen."""

import argparse
import json
from pathlib import Path

from mmengine.config import Config

from damamba.cli.common import add_pairs, run
from damamba.cli.console import say
from damamba.engine.config import check_files, read_config, refuse_version_2
from damamba.engine.settings import spread
from damamba.evaluation.proof import Proof, prove

IMAGES = 100


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog='prove_evaluation.py', description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--images', type=int, default=IMAGES, metavar='N', help='on how many pictures (default: 100)')
    parser.add_argument('--seed', type=int, default=0, metavar='S', help='another seed, other pictures (default: 0)')
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
    for note in spread(cfg):
        say(note)
    check_files(cfg, ('test',))
    proof = prove(cfg, images, seed)
    say(proof.table())
    return proof


def show(argv: list[str] | None = None) -> None:
    """Parse, prove, write."""
    args = parse(argv)
    cfg = read_config(args.config)
    cfg.merge_from_dict(args.cfg_options)
    refuse_version_2(cfg, args.config)
    proof = prove_config(cfg, args.images, args.seed)
    if args.json:
        args.json.write_text(json.dumps(proof.to_dict(), indent=2), encoding='utf-8')
    proof.require()


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    run(show, argv)
