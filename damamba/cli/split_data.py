"""Split a data set in COCO's format into parts to train, validate and test on; the pictures stay where they are.

The same picture, by its id, its file or its bytes, is in one part alone, and each class in all, as far as possible. The
exit status is 0, or 1 where it can't be split.
"""

import argparse
import sys
import warnings
from pathlib import Path

from PIL import Image

from damamba.cli.check_dataset import MAX_PIXELS
from damamba.cli.commands import command_parser
from damamba.cli.console import progress, say
from damamba.datasets.splitting import ALIKE, FOLDER, KEY, NAME, GroupBy, Split, SplitError, split_dataset
from damamba.datasets.splitting.printout import format_split

NAMES = {2: ['train', 'val'], 3: ['train', 'val', 'test']}


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser('split-data', __doc__)
    parser.add_argument('annotations', type=Path, metavar='ANNOTATIONS', help="an annotation file in COCO's format")
    parser.add_argument('out', type=Path, metavar='OUT', help='the folder for instances_<name>.json of each part')
    parser.add_argument(
        '--fractions',
        type=float,
        nargs='+',
        default=[0.8, 0.1, 0.1],
        metavar='F',
        help='how large each part is; they sum to 1, or as percents to 100 (default: 0.8 0.1 0.1)',
    )
    parser.add_argument(
        '--names', nargs='+', metavar='NAME', help='of the parts; by default train val, or train val test'
    )
    parser.add_argument(
        '--balance',
        choices=['pictures', 'objects'],
        default='pictures',
        help='what the fractions are of (default: pictures)',
    )
    add_grouping(parser)
    parser.add_argument(
        '--images',
        type=Path,
        metavar='DIR',
        help='the folder of the pictures; by default it is found',
    )
    parser.add_argument('--seed', type=int, default=0, metavar='S', help='another seed, another split (default: 0)')
    parser.add_argument('--workers', type=int, metavar='N', help='threads that read pictures; by default one a core')
    return parser


def add_grouping(parser: argparse.ArgumentParser) -> None:
    """The flags that say which pictures stay together."""
    groups = parser.add_mutually_exclusive_group()
    groups.add_argument(
        '--group-by',
        metavar='KEY',
        help='pictures with the same value of this key of their records stay together, such as scene or camera; '
        'times, as in date_captured, are taken by day',
    )
    groups.add_argument(
        '--group-by-name',
        metavar='REGEX',
        help="pictures in whose file_name the brackets find the same stay together, such as '(.+)_'",
    )
    groups.add_argument('--group-by-folder', action='store_true', help='pictures of a folder stay together')
    parser.add_argument(
        '--near-duplicates',
        type=float,
        nargs='?',
        const=ALIKE,
        metavar='LEAST',
        help=f'pictures whose small copies correlate by this or more ({ALIKE:g}) stay together too',
    )


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.workers is not None and args.workers < 1:
        parser.error(f'--workers takes 1 or more, got {args.workers}')
    if args.seed < 0:
        parser.error(f'--seed takes 0 or more, got {args.seed}')
    if args.images and not args.images.is_dir():
        parser.error(f'--images: {args.images} is no folder')
    if args.near_duplicates is not None and not 0 < args.near_duplicates <= 1:
        parser.error(f'--near-duplicates takes a correlation above 0, at most 1, got {args.near_duplicates:g}')
    count = len(args.fractions)
    args.names = args.names or NAMES.get(count) or [f'part{number}' for number in range(1, count + 1)]
    return args


def group_by(args: argparse.Namespace) -> GroupBy | None:
    """What the flags say."""
    if args.group_by_folder:
        return GroupBy(FOLDER)
    if args.group_by_name is not None:
        return GroupBy(NAME, args.group_by_name)
    return None if args.group_by is None else GroupBy(KEY, args.group_by)


def split(args: argparse.Namespace) -> Split:
    """Split the set."""
    if len(args.names) != len(args.fractions) or len({*args.names}) < len(args.names):
        text = f'got {len(args.fractions)} fractions and the names {" ".join(args.names)}'
        raise SplitError(f'each part needs a fraction and a name of its own: {text}')
    fractions = dict(zip(args.names, args.fractions, strict=True))
    by_objects = args.balance == 'objects'
    with progress('reading', 'looking at pictures') as show:
        return split_dataset(
            args.annotations,
            args.out,
            fractions,
            group_by(args),
            args.near_duplicates,
            args.images,
            args.seed,
            by_objects,
            args.workers,
            show,
        )


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = parse(argv)
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.filterwarnings('ignore', module='PIL')  # of odd metadata, which nobody reads
    try:
        done = split(args)
    except (SplitError, OSError) as error:
        sys.exit(f'error: {error}')
    say(format_split(done))
    if any(defect.kind == 'leak' for defect in done.inspection.defects):
        sys.exit(1)
