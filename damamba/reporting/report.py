"""Finished runs -> one folder, written whole or not at all: a page, Markdown, CSV and pictures."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

import damamba
from damamba.evaluation.results import NAMES
from damamba.reporting.charts import palette_of
from damamba.reporting.charts.style import unknown_letters
from damamba.reporting.foreign import read_foreign
from damamba.reporting.ground_truth import Section, sections_of
from damamba.reporting.missing import Missing, diagnose_command, missing_of_all, test_command
from damamba.reporting.page import Refusal, Report, topics_of
from damamba.reporting.run_tables import all_classes_table
from damamba.reporting.runs import ReportError, Run, read_runs
from damamba.reporting.words import filled
from damamba.tables import csv_of

LIST = '.report.json'  # names the files of a report in its folder
SUFFIXES = ('.html', '.md', '.csv', '.png')
PAGES = ('report.html', 'report.md')
LEAST = 0.0005  # smaller leads would be shown as 0.000
LETTERS = 'a font with the letters {}, so that pictures show boxes for them: install Noto Sans CJK'


def make_report(
    folders: Sequence[Path],
    out: Path,
    names: Sequence[str] | None = None,
    title: str | None = None,
    focus: str | None = None,
    least: float = 0.5,
    foreign: Sequence[tuple[str, Path]] = (),
    annotations: Path | None = None,
) -> Report:
    """Report finished runs, from the files in their work folders alone, into ``out``, in place of an earlier report.

    ``names`` are those of the runs, by default the folders'; ``focus`` is the class that comes first, ``mean`` for
    none; detections are drawn from the score ``least`` on. ``foreign`` are files of results by their names, held
    against ``annotations``, by default those of the runs' main data set. Raises ReportError where there is nothing to
    report, names are not distinct, files can't be read, no data set has the class, or ``out`` can't be written or has
    other files of these names.
    """
    runs = read_runs(folders, names, [name for name, _ in foreign])
    runs += read_foreign(foreign, annotations, runs)
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
    """Which run leads on the main data set, the first, or why none does, and why runs may not compare."""
    if not sections:
        return 'No run has figures that count.'
    section, kind = sections[0], sections[0].kinds[0]
    ranking = section.ranking(kind, section.focus)
    named = {*ranking.runs[: len(ranking.first) + 1], *ranking.near}  # of whom it tells: the first, and the next
    compared = [it for it in section.results if it.run.name in named]
    told = dict(section=section, name=NAMES[kind], ranking=ranking, compared=compared)
    return ' '.join(filled('headline.j2', **told, least=LEAST).strip().split('\n'))


def _refusals(run: Run) -> list[Refusal]:
    """Of its tests, and of its validation where that counts."""
    if run.is_foreign and run.own.reasons:
        return [Refusal(run.name, run.own.data, run.own.reasons, diagnose_command(run.own), 'What shows it')]
    refused = [Refusal(run.name, it.data, it.reasons, test_command(run, it)) for it in run.results if it.reasons]
    if run.validation and run.validation.reasons:
        name = f'the validation on {run.validation.data}'
        refused.append(Refusal(run.name, name, run.validation.reasons, test_command(run)))
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


@contextmanager
def written_at_once(out: Path) -> Iterator[Path]:
    """A folder to write a report into, which takes the place of the earlier one in ``out`` once it is whole.

    ReportError if files in ``out`` that are of no report have the names of this one's, OSError if it can't be written.
    """
    is_new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    earlier = _files_of_report(out)
    try:
        _refuse_foreign(out, PAGES, earlier)
        with TemporaryDirectory(prefix='.report-', dir=out) as beside:
            yield Path(beside)
            names = sorted(os.listdir(beside))
            _refuse_foreign(out, names, earlier)
            _list_files(out, {*names, *earlier})  # if moving is cut off
            for name in names:
                os.replace(Path(beside, name), out / name)
            for name in earlier.difference(names):
                (out / name).unlink(missing_ok=True)
            _list_files(out, names)
    except BaseException:
        if is_new and not any(out.iterdir()):
            out.rmdir()
        raise


def _refuse_foreign(out: Path, names: Iterable[str], earlier: set[str]) -> None:
    for name in names:
        if (out / name).exists() and name not in earlier:
            raise ReportError(f'{out / name} is of no report that was made here: move it away, or give another --out')


def _list_files(out: Path, names: Iterable[str]) -> None:
    (out / LIST).write_text(json.dumps({'files': sorted(names)}), encoding='utf-8')


def _files_of_report(out: Path) -> set[str]:
    """What an earlier report left in its own folder."""
    try:
        files = json.loads((out / LIST).read_text(encoding='utf-8'))['files']
        return {name for name in files if Path(name).name == name and Path(name).suffix in SUFFIXES}
    except (OSError, ValueError, TypeError, KeyError):
        return set()
