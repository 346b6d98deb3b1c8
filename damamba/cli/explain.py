"""Look inside: where the scan reads from for a position of a picture, what reaches it, how long the state remembers."""

import argparse
from pathlib import Path

from damamba.cli.commands import command_parser
from damamba.cli.common import run
from damamba.cli.console import say
from damamba.cli.model import add_model, build_model, make_folder
from damamba.inference.explain import Explanation, explain
from damamba.inference.explain.picture import read_picture


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser('explain', __doc__)
    parser.add_argument('picture', metavar='PICTURE', help='the picture to look at')
    add_model(parser)
    parser.add_argument(
        '--out', type=Path, default=Path('explained'), metavar='DIR', help='where all goes; by default explained'
    )
    parser.add_argument(
        '--position', type=_position, metavar='X,Y', help='in pixels; by default the centre of the best detection'
    )
    parser.add_argument('--stage', type=int, metavar='N', help='the stage to animate, from 1: that with most blocks')
    parser.add_argument('--format', choices=['gif', 'mp4'], default='gif', help='of the animation: gif')
    parser.add_argument('--no-animation', action='store_true', help='write the sheet and the arrays alone')
    return parser.parse_args(argv)


def _position(text: str) -> tuple[float, float]:
    try:
        across, down = map(float, text.split(','))
    except ValueError:
        raise argparse.ArgumentTypeError(f'takes two numbers such as 320,200, got {text}') from None
    return across, down


def look(args: argparse.Namespace) -> tuple[Explanation, list[Path]]:
    """Explain the picture; return that, and the files that were written."""
    read_picture(args.picture)  # before a model is loaded
    make_folder(args.out)
    model = build_model(args)
    explanation = explain(model, args.picture, args.position, args.stage)
    name = args.out / f'{Path(args.picture).stem}.explain'
    paths = [Path(f'{name}.{suffix}') for suffix in ('png', args.format, 'npz')]
    explanation.draw(paths[0])
    if args.no_animation:
        del paths[1]
    else:
        explanation.animate(paths[1])
    explanation.save(paths[-1])
    return explanation, paths


def show(argv: list[str] | None = None) -> None:
    """Parse, explain, print the figures and where the files lie."""
    explanation, paths = look(parse(argv))
    say('\n'.join([str(explanation), *(f'wrote {path}' for path in paths)]))


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    run(show, argv)
