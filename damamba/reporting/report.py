"""Finished runs -> one folder: a page, Markdown, CSV and pictures."""

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import damamba
from damamba.evaluation.results import NAMES
from damamba.reporting.charts import palette_of
from damamba.reporting.charts.style import unknown_letters
from damamba.reporting.folder import written_at_once
from damamba.reporting.ground_truth import Section, sections_of
from damamba.reporting.missing import Missing, missing_of_all, test_command
from damamba.reporting.page import Refusal, Report
from damamba.reporting.run_tables import all_classes_table
from damamba.reporting.runs import ReportError, Run, read_runs
from damamba.reporting.topics import topics_of
from damamba.reporting.words import filled
from damamba.tables import csv_of, is_figure

LEAST = 0.0005  # smaller leads would be shown as 0.000
LETTERS = 'a font with the letters {}, so that pictures show boxes for them: install Noto Sans CJK'


def make_report(
    folders: Sequence[Path],
    out: Path,
    names: Sequence[str] | None = None,
    title: str | None = None,
    focus: str | None = None,
    least: float = 0.5,
) -> Report:
    """Report finished runs, from the files in their work folders alone.

    Args:
        folders: the work folders.
        out: the folder to write; an earlier report in it is replaced.
        names: of the runs; by default those of the folders.
        title: of the page.
        focus: the class that comes first; ``mean`` for none.
        least: the score from which on detections are drawn.

    Raises:
        ReportError: there is nothing to report, names are not distinct, no data set has the class, ``out`` can't be
            written or has other files of these names.
    """
    runs = read_runs(folders, names)
    sections = sections_of(runs, focus)
    palette, headline = palette_of([run.name for run in runs]), headline_of(sections)
    title, date = title or 'Comparison of runs', datetime.now(timezone.utc).strftime('%Y-%m-%d %H:%M UTC')
    refusals, missing = [it for run in runs for it in _refusals(run)], missing_of_all(runs)
    try:
        with written_at_once(out) as folder:
            report = Report(title, date, out, folder, runs, sections, headline, palette, least, refusals, missing)
            report.topics = topics_of(report)
            for run in runs:
                unknown = unknown_letters([run.name, *map(report.label, run.results)])
                report.missing += [Missing(run.name, LETTERS.format(unknown))] if unknown else []
            for name, text in _texts(report).items():  # names of folders in them need not be texts
                (folder / name).write_text(text, encoding='utf-8', errors='backslashreplace')
    except OSError as error:
        why = error.strerror or error
        raise ReportError(f'can not write the report into {out}: {why}; --out takes a folder') from error
    return report


def headline_of(sections: Sequence[Section]) -> str:
    """One sentence: which run leads on the main data set, the first, by how much, and what speaks against comparing."""
    if not sections:
        return 'No run has figures that count.'
    section, kind = sections[0], sections[0].kinds[0]
    values = {run: scores['mAP'] for run, scores in section.figures(kind).items()}
    ranks = sorted((run for run in values if is_figure(values[run])), key=lambda run: -values[run])
    first = [run for run in ranks if values[run] == values[ranks[0]]]
    compared = [it for it in section.results if it.run.name in ranks[: len(first) + 1]]  # those that lead, and the next
    told = dict(section=section, name=NAMES[kind], values=values, ranks=ranks, first=first, compared=compared)
    return ' '.join(filled('headline.j2', **told, least=LEAST).strip().split('\n'))


def _refusals(run: Run) -> list[Refusal]:
    """Of its tests, and of its validation where that counts."""
    refused = [Refusal(run.name, it.data, it.reasons, test_command(run, it)) for it in run.results if it.reasons]
    if run.validation and run.validation.faults:
        name = f'the validation on {run.validation.data}'
        refused.append(Refusal(run.name, name, run.validation.faults, test_command(run)))
    return refused


def _texts(report: Report) -> dict[str, str]:
    """The pages, and CSV files for all tables of a name, which become ``report.files``."""
    tables = [table for topic in report.topics for block in topic.blocks for table in block.tables]
    tables = [table for table in (*tables, *map(all_classes_table, report.sections)) if table.name and table.rows]
    names = dict.fromkeys(table.name for table in tables)
    files = {f'{name}.csv': csv_of([table for table in tables if table.name == name]) for name in names}
    report.files, reading = [*files], filled('reading.j2').split('\n')
    for name in ('report.html', 'report.md'):
        files[name] = filled(f'{name}.j2', report=report, reading=reading, version=damamba.__version__)
    return files
