"""Make one report of finished runs: a page, Markdown, CSV and pictures, from what lies in their work folders."""

import argparse
import sys
from pathlib import Path

from damamba.cli.console import say
from damamba.reporting.report import Report, make_report
from damamba.reporting.runs import ReportError


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog='report.py', description=__doc__)
    parser.add_argument('runs', nargs='+', type=Path, metavar='WORK_DIR', help='the work folder of a run')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='the folder to write')
    parser.add_argument('--names', nargs='+', metavar='NAME', help='of the runs; by default those of their folders')
    parser.add_argument('--title', help='what stands above the report')
    parser.add_argument(
        '--focus', metavar='CLASS', help='the class that comes first; "mean" for none; by default Object beside Tote'
    )
    parser.add_argument(
        '--least', type=float, default=0.5, metavar='SCORE', help='draw what scores at least this much (default: 0.5)'
    )
    args = parser.parse_args(argv)
    if not 0 <= args.least <= 1:
        parser.error(f'--least takes a score from 0 to 1, got {args.least:g}')
    return args


def summary(report: Report) -> str:
    """The tables, what was refused, what is missing, and where the report lies."""
    lines = [report.headline, *(sheet.text() for sheet in report.tables)]
    lines += [f'REFUSED {it.run} on {it.dataset}: {"; ".join(it.reasons)}' for it in report.page.refusals]
    for it in report.missing:
        lines.append(f'missing of {it.run}: {it.what}' + (f'\n    {it.command}' if it.command else ''))
    return '\n\n'.join([*lines, f'wrote {report.page.out / "report.html"}'])


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = parse(argv)
    try:
        report = make_report(args.runs, args.out, args.names, args.title, args.focus, args.least)
    except ReportError as error:
        sys.stderr.write(f'error: {error}\n')
        sys.exit(1)
    say(summary(report))
