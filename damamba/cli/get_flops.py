"""Count the parameters and multiply-accumulates (MACs) of a detector's parts, on the CPU, without weights.

Convolutions, matrix products, attention and DAMamba's operators count; norms, activations and other elementwise work
do not, nor do mmcv's compiled operators.
"""

import argparse
import json
from pathlib import Path

from mmengine.registry import init_default_scope

from damamba.cli.commands import command_parser
from damamba.cli.common import run
from damamba.cli.console import say
from damamba.cli.options import add_pairs
from damamba.engine.config import read_config
from damamba.engine.config_checks import ConfigError
from damamba.engine.flops import Cost, Part, measure
from damamba.tables import Table


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser('get-flops', __doc__)
    parser.add_argument('config', help='the config file of a detector')
    parser.add_argument(
        '--shape',
        nargs='+',
        type=int,
        default=[800, 1280],
        metavar='PX',
        help='height and width of the picture in pixels, or one number for both; by default 800 1280',
    )
    add_pairs(parser, '--cfg-options', 'override the config')
    parser.add_argument('--json', type=Path, metavar='OUT', help='write the figures, unrounded, to this file too')
    args = parser.parse_args(argv)
    if len(args.shape) > 2 or min(args.shape) < 1:
        given = ' '.join(map(str, args.shape))
        parser.error(f'--shape takes a height and a width, or one number for both, in pixels; got {given}')
    if args.json and not args.json.parent.is_dir():
        parser.error(f'--json can not write {args.json}: there is no folder {args.json.parent}')
    if args.json and args.json.is_dir():
        parser.error(f'--json can not write {args.json}: it is a folder')
    return args


def count(args: argparse.Namespace) -> Cost:
    """Count what the detector of the config does with one picture.

    Raises:
        ConfigError: there is no such config, or it describes no detector.
    """
    cfg = read_config(args.config, args.cfg_options)
    if 'backbone' not in (cfg.get('model') or {}):
        raise ConfigError(f'{args.config} describes no model with a backbone (model.backbone): what is to be counted?')
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    return measure(cfg.model, args.shape[0], args.shape[-1])


def render(cost: Cost) -> str:
    """The parts, a line each, and what the total means."""
    rows = [row for part in cost.total.parts for row in _rows(part)]
    total = _rows(Part('total', cost.total.params, cost.total.macs))
    table = Table.of('', ['part', 'parameters', 'MACs', 'RoIs'], [*rows, *total], sections=[len(rows) - 1])
    published = f'By the rules of the published tables (docs/commands.md): {_g(cost.published_macs)} MACs'
    return '\n'.join([_headline(cost), table.text(), published])


def _headline(cost: Cost) -> str:
    height, width = cost.shape
    padded = '' if cost.padded == cost.shape else ', padded to {} x {}'.format(*cost.padded)
    return f'One picture, {height} pixels high and {width} wide{padded}'


def _rows(part: Part, indent: str = '') -> list[list[str]]:
    rois = '' if part.rois is None else f'{part.rois:,}'
    own = [f'{indent}{part.name}', f'{part.params / 1e6:.3f} M', _g(part.macs), rois]
    return [own, *(row for inner in part.parts for row in _rows(inner, f'{indent}  '))]


def _g(macs: int) -> str:
    return f'{macs / 1e9:,.2f} G'


def show(argv: list[str] | None = None) -> None:
    """Parse, count, print the table."""
    args = parse(argv)
    cost = count(args)
    say(render(cost))
    if args.json:
        content = {'config': args.config, **cost.to_dict()}
        args.json.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    run(show, argv)
