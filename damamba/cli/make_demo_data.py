"""Draw a data set of synthetic scenes, to try everything with: things of six classes, or totes as ARMBench has them."""

import argparse
import sys
from pathlib import Path

import cv2

from damamba.cli.commands import command_parser
from damamba.cli.console import progress
from damamba.datasets.armbench_demo import write_armbench
from damamba.datasets.demo import DemoError, Summary, write_shapes
from damamba.datasets.inspection.records import AREAS


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser('make-demo-data', __doc__)
    kinds = parser.add_subparsers(dest='kind', metavar='KIND', required=True)
    add_shapes(kinds)
    add_armbench(kinds)
    for kind in kinds.choices.values():
        kind.add_argument('out', type=Path, help='the folder to write: a new or an empty one')
        kind.add_argument('--seed', type=int, default=0, metavar='S', help='another seed, other pictures (default: 0)')
    return parser


def add_shapes(kinds: argparse._SubParsersAction) -> None:
    text = "things of six classes: turned, scaled, upon one another; in COCO's layout"
    shapes = kinds.add_parser('shapes', help=text, description=text)
    shapes.add_argument('--images', type=int, default=600, metavar='N', help='pictures to train on (default: 600)')
    shapes.add_argument('--val-images', type=int, metavar='M', help='pictures to validate on (default: a fifth of N)')
    shapes.add_argument('--size', type=int, default=192, metavar='PX', help='pixels a side (default: 192)')


def add_armbench(kinds: argparse._SubParsersAction) -> None:
    text = "a stand-in of ARMBench's segmentation data: products in totes, three subsets; in its layout"
    armbench = kinds.add_parser('armbench', help=text, description=text)
    images = 'pictures of mix-object-tote to train on, which sets how many there are of the others (default: 300)'
    armbench.add_argument('--images', type=int, default=300, metavar='N', help=images)
    side = 'the longest side of all pictures, in pixels (default: 320)'
    armbench.add_argument('--long-side', type=int, default=320, metavar='PX', help=side)
    armbench.add_argument(
        '--without-test', action='store_true', help='no test.json, as in some copies of the real data'
    )


def write(args: argparse.Namespace) -> Summary | dict[str, Summary]:
    """Write the set."""
    with progress('drawing', 'drawing') as show:
        if args.kind == 'armbench':
            return write_armbench(
                args.out, args.images, args.long_side, args.seed, not args.without_test, on_picture=show
            )
        return write_shapes(args.out, args.images, args.val_images, args.size, args.seed, on_picture=show)


def describe(found: Summary | dict[str, Summary]) -> tuple[str, bool]:
    """What a set holds, subset by subset where it has some, and whether it has just been drawn."""
    if isinstance(found, Summary):
        return f'{in_lines(found)}\ncrowds         {found.crowds}', found.fresh
    blocks = [f'{subset}\n{in_lines(summary)}\n' for subset, summary in found.items()]
    return '\n'.join(blocks), all(summary.fresh for summary in found.values())


def in_lines(summary: Summary) -> str:
    """What is said of a set, without the crowds."""
    objects = max(summary.objects, 1)
    sizes = ', '.join(f'{getattr(summary, name) / objects:.0%} {name}' for name in AREAS)
    lines = {
        'pictures': f'{summary.pictures}',
        'objects': f'{summary.objects}, {summary.objects / max(summary.pictures, 1):.1f} per picture',
        'partly hidden': f'{summary.hidden / objects:.0%} of the objects',
        'sizes': f'{sizes} (less than 32 x 32, from 96 x 96 pixels on)',
    }
    return '\n'.join(f'{name:<14} {text}' for name, text in lines.items())


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = build_parser().parse_args(argv)
    cv2.setNumThreads(1)  # the patches are small: threads would wait for each other longer than they work
    try:
        text, fresh = describe(write(args))
    except (DemoError, OSError) as error:
        sys.exit(f'error: {error}')
    where = f'{args.out}' if fresh else f'{args.out} (it was there already, and is left as it is)'
    sys.stdout.write(f'{text}\npath           {where}\n')
