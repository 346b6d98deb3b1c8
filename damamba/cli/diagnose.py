"""Say why the mAP of a file of results is what it is: known faults are tried, and mended to measure what they cost.

RESULTS are in the format of COCO, from any toolkit. What was found is told in sentences, the best explanation first.
"""

import argparse
import json
import sys
from pathlib import Path

from damamba.cli.commands import command_parser
from damamba.cli.console import say
from damamba.datasets.inspection.annotation_files import find_picture_folder
from damamba.evaluation.annotations import read
from damamba.evaluation.diagnosis import Diagnosis, diagnose
from damamba.evaluation.diagnosis.result_files import read_entries
from damamba.evaluation.results import NAMES, EvaluationError
from damamba.tables import Table


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser('diagnose', __doc__)
    parser.add_argument('results', type=Path, metavar='RESULTS', help='boxes, masks or both: a .json file')
    parser.add_argument('--annotations', type=Path, metavar='JSON', required=True, help='the ground truth')
    parser.add_argument('--json', action='store_true', help='print figures and explanations as JSON, and nothing else')
    parser.add_argument(
        '--picture', type=Path, metavar='PNG', help='draw the first pictures into this file: as given, and as mended'
    )
    parser.add_argument(
        '--images',
        type=Path,
        metavar='DIR',
        help='the folder of the pictures; by default it is found, such as images/ beside the annotations',
    )
    args = parser.parse_args(argv)
    if args.picture and args.picture.suffix.lower() != '.png':
        parser.error(f'--picture takes the name of a .png file, got {args.picture}')
    if args.images and not args.images.is_dir():
        parser.error(f'--images: {args.images} is no folder')
    return args


def printed(diagnosis: Diagnosis) -> str:
    """The table as it stands, the verdict, and what else explains the figures, each in a sentence."""
    lines = [diagnosis.evaluation.table().rstrip(), diagnosis.sentence]
    if len(diagnosis.explanations) > 1:
        lines += ['Less is explained by:', *(f'- {it.sentence}' for it in diagnosis.explanations[1:])]
    if diagnosis.explanations:
        rows = [
            [', '.join(it.faults), NAMES[it.kind], it.given, it.mean_ap, it.pictures] for it in diagnosis.explanations
        ]
        headings = ['faults', 'of', 'mAP as given', 'as mended', 'pictures']
        lines.append(Table.of('What would be without them', headings, rows, left=(0, 1)).text().rstrip())
    return '\n\n'.join(lines)


def _draw(args: argparse.Namespace, diagnosis: Diagnosis, document: dict) -> None:
    from damamba.reporting.charts import draw_diagnosis  # pictures take a second to import, which few ask for

    names = [it.get('file_name') for it in document['images']]
    if not all(names):
        raise EvaluationError('--picture: the annotations do not name the files of all pictures')
    folder = args.images or find_picture_folder(args.annotations, names)
    args.picture.parent.mkdir(parents=True, exist_ok=True)
    try:
        draw_diagnosis(folder, document, diagnosis, args.picture)
    except FileNotFoundError as error:
        raise EvaluationError(f'{error}: say --images DIR') from error


def show(argv: list[str] | None) -> None:
    """Parse, diagnose, print and draw."""
    args = parse(argv)
    for path in (args.results, args.annotations):
        if not path.is_file():
            problem = 'is a folder' if path.is_dir() else 'does not exist'
            raise EvaluationError(f'{path} {problem}; wanted a .json file')
    document = read(args.annotations)
    diagnosis = diagnose(document, read_entries(args.results))
    say(json.dumps(diagnosis.to_dict(), indent=2) if args.json else printed(diagnosis))
    if args.picture:
        _draw(args, diagnosis, document)
        if not args.json:
            say(f'\nwrote {args.picture}')


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    try:
        show(argv)
    except EvaluationError as error:
        sys.stderr.write(f'error: {error}\n')
        sys.exit(1)
