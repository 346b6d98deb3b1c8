"""Draw a data set of synthetic scenes, in COCO's layout, to try everything with."""

import argparse
import sys
from pathlib import Path

import cv2
from rich.console import Console
from rich.progress import Progress

from damamba.datasets.demo import DemoError, Summary, write_shapes


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='make_demo_data.py', description=__doc__)
    kinds = parser.add_subparsers(dest='kind', metavar='KIND', required=True)
    text = 'things of six classes: turned, scaled, upon one another'
    shapes = kinds.add_parser('shapes', help=text, description=text)
    shapes.add_argument('out', type=Path, help='the folder to write: a new or an empty one')
    shapes.add_argument('--images', type=int, default=600, metavar='N', help='pictures to train on (default: 600)')
    shapes.add_argument('--val-images', type=int, metavar='M', help='pictures to validate on (default: a fifth of N)')
    shapes.add_argument('--size', type=int, default=192, metavar='PX', help='pixels a side (default: 192)')
    shapes.add_argument('--seed', type=int, default=0, metavar='S', help='another seed, other pictures (default: 0)')
    return parser


def write(args: argparse.Namespace) -> Summary:
    """Write the set; on a terminal a bar shows how far it is."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task('drawing', total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return write_shapes(args.out, args.images, args.val_images, args.size, args.seed, on_picture=show)


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = build_parser().parse_args(argv)
    cv2.setNumThreads(1)  # the patches are small: threads would wait for each other longer than they work
    try:
        summary = write(args)
    except (DemoError, OSError) as error:
        sys.exit(f'error: {error}')
    where = f'{args.out}' if summary.fresh else f'{args.out} (it was there already, and is left as it is)'
    sys.stdout.write(f'{summary}\npath           {where}\n')
