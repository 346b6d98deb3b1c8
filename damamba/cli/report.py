"""Make one report of finished runs: a page, Markdown, CSV and pictures, from what lies in their work folders."""

import argparse
import sys
from pathlib import Path

from damamba.cli.commands import command_parser
from damamba.cli.console import say
from damamba.reporting.page import Report
from damamba.reporting.report import make_report
from damamba.reporting.run_tables import comparison_table
from damamba.reporting.runs import ReportError


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser('report', __doc__)
    parser.add_argument('runs', nargs='*', type=Path, metavar='WORK_DIR', help='the work folder of a run')
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        metavar='DIR',
        help='the folder to write; an earlier report in it is replaced',
    )
    parser.add_argument(
        '--names', nargs='+', metavar='NAME', help='of the runs, in their order; by default those of the folders'
    )
    parser.add_argument(
        '--results',
        action='append',
        default=[],
        metavar='NAME=FILE',
        help='a row of this name from COCO results, a .json file that any toolkit made; may be given several times',
    )
    parser.add_argument(
        '--annotations',
        type=Path,
        metavar='JSON',
        help='what --results are held against; by default the annotations of the main data set of the runs',
    )
    parser.add_argument('--title', help='what stands above the report')
    parser.add_argument(
        '--focus',
        metavar='CLASS',
        help='the class that comes first; mean for none; by default Object, with Tote beside it alone',
    )
    parser.add_argument(
        '--least', type=float, default=0.5, metavar='SCORE', help='draw detections that score at least this much: 0.5'
    )
    args = parser.parse_args(argv)
    if not 0 <= args.least <= 1:
        parser.error(f'--least takes a score from 0 to 1, got {args.least:g}')
    if not args.runs and not args.results:
        parser.error('nothing to report: give work folders of runs, or --results with --annotations')
    return args


def summary(report: Report) -> str:
    """The tables, what was refused, what is missing, and where the report lies."""
    lines = [report.headline, *(comparison_table(section).text() for section in report.sections)]
    lines += [f'REFUSED {it.run} on {it.dataset}: {"; ".join(it.reasons)}' for it in report.refusals]
    for it in report.missing:
        lines.append(f'missing of {it.run}: {it.what}' + (f'\n    {it.command}' if it.command else ''))
    return '\n\n'.join([*lines, f'wrote {report.out / "report.html"}'])


def named(text: str) -> tuple[str, Path]:
    """A name and a file, of NAME=FILE. ReportError if one of them is not there."""
    name, _, file = text.partition('=')
    if not name.strip() or not file:
        raise ReportError(f'--results takes NAME=FILE.json, got {text!r}')
    return name.strip(), Path(file)


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = parse(argv)
    try:
        foreign = [named(text) for text in args.results]
        looks = dict(names=args.names, title=args.title, focus=args.focus, least=args.least)
        report = make_report(args.runs, args.out, **looks, foreign=foreign, annotations=args.annotations)
    except ReportError as error:
        sys.stderr.write(f'error: {error}\n')
        sys.exit(1)
    say(summary(report))
