"""Look through a data set in COCO's format: what it holds, and everything that is wrong with it.

The exit status is 0 without defects, 1 with some, 2 where there is nothing to look through.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

from PIL import Image

from damamba.cli.commands import command_parser
from damamba.cli.console import progress, say
from damamba.datasets.inspection import InspectionError, inspect_dataset
from damamba.datasets.inspection.printout import format_inspection

MAX_PIXELS = 2**30  # OpenCV reads no larger picture


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser('check-dataset', __doc__)
    parser.add_argument('path', type=Path, metavar='PATH', help='an annotation file, or a folder with some in it')
    parser.add_argument(
        '--images',
        type=Path,
        metavar='DIR',
        help='the folder of the pictures; by default it is found, such as images/ beside the file',
    )
    parser.add_argument(
        '--no-pixels',
        action='store_true',
        help='read only the headers of the pictures: most that are cut off are not noticed',
    )
    parser.add_argument('--workers', type=int, metavar='N', help='threads that read pictures; by default one a core')
    parser.add_argument(
        '--json',
        type=Path,
        metavar='OUT',
        help='write everything to this file too, each defect with its file, picture and annotation',
    )
    return parser


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.workers is not None and args.workers < 1:
        parser.error(f'--workers takes 1 or more, got {args.workers}')
    if args.images and not args.images.is_dir():
        parser.error(f'--images: {args.images} is no folder')
    if args.json and not args.json.resolve().parent.is_dir():
        parser.error(f'--json can not write {args.json}: there is no folder {args.json.parent}')
    return args


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = parse(argv)
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.filterwarnings('ignore', module='PIL')  # of odd metadata, which nobody reads
    try:
        with progress('reading', 'looking at pictures') as show:
            inspection = inspect_dataset(args.path, args.images, not args.no_pixels, args.workers, on_picture=show)
    except InspectionError as error:
        sys.stderr.write(f'error: {error}\n')
        sys.exit(2)
    say(format_inspection(inspection))
    if args.json:
        args.json.write_text(json.dumps(inspection.to_dict(), indent=2) + '\n', encoding='utf-8')
    sys.exit(1 if inspection.defects else 0)
