"""Finished runs -> one folder: a page, Markdown, CSV and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

import damamba
from damamba.evaluation.tables import number
from damamba.reporting import figures
from damamba.reporting.comparison import palette_of
from damamba.reporting.comparison.fonts import unknown_letters
from damamba.reporting.folder import written_at_once
from damamba.reporting.missing import Missing, missing_of, test_command
from damamba.reporting.page import Page, Refusal, Topic
from damamba.reporting.runs import Dataset, ReportError, Run, faults_of, read_runs
from damamba.reporting.sections import Section, focused, sections_of
from damamba.reporting.sheets import Sheet, as_markdown, csv_of, is_figure
from damamba.reporting.topics import topics_of
from damamba.reporting.words import counted, listed

TITLE = 'Comparison of runs'
READING = (
    'Figures are copied from the metrics.json that each test wrote, and none is computed anew. Tables show three '
    'digits; CSV, and in the page the value of each number, have all.',
    'A dash stands where there was nothing to find, which COCO writes as -1, or where nothing was measured.',
    'AP is the area under precision by recall. mAP is its mean over the overlaps (IoU) from 0.50 to 0.95 and over the '
    'classes; AP50 and AP75 are at one overlap. AR is the recall at so many detections a picture, over the same '
    'overlaps.',
    'A test that was made with --prove has shown before that its evaluation gives the ground truth 1.000, and that '
    'known faults would be seen. Figures of a proof that failed, and figures that look wrong, are refused.',
    'Runs share a table where they were tested on the same annotations, to the same number of pictures, objects, '
    'classes and detections. Losses of unlike models do not compare.',
    'Seconds a picture are medians. Peak memory is what torch allocated at most on a GPU; without one, the largest '
    'memory of a process.',
    'Epochs are those of the checkpoint that was tested. A difference smaller than that of two seeds says nothing.',
)


@dataclass(frozen=True)
class Report:
    """What was found, and where it lies."""

    title: str
    date: str
    headline: str
    page: Page
    missing: Sequence[Missing]
    topics: Sequence[Topic]
    files: Sequence[str]  # CSV

    @property
    def tables(self) -> list[Sheet]:
        return [figures.comparison(section, self.page.runs) for section in self.page.sections]


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
    try:
        with written_at_once(out) as beside:
            page = Page(beside, runs, sections, palette_of([run.name for run in runs]), least, _refusals(runs))
            report = _written(page, title or TITLE)
    except OSError as error:
        raise ReportError(
            f'can not write the report into {out}: {error.strerror or error}; --out takes a folder'
        ) from error
    return replace(report, page=replace(page, out=out))


def _written(page: Page, title: str) -> Report:
    """The report, written into the page's folder."""
    topics = topics_of(page)
    missing = [it for run in page.runs for it in missing_of(run, _tested_by_others(run, page.runs))]
    date = datetime.now(timezone.utc).strftime('%Y-%m-%d %H:%M UTC')
    first = headline(page.sections, page.runs)
    report = Report(title, date, first, page, missing + _letters(page), topics, _write_csv(page, topics))
    for name in ('report.html', 'report.md'):
        _write(page.out / name, _render(f'{name}.j2', report))
    return report


def _write(path: Path, text: str) -> None:
    """Names of folders need not be texts."""
    path.write_text(text, encoding='utf-8', errors='backslashreplace')


def _letters(page: Page) -> list[Missing]:
    """What the pictures can't write."""
    found = []
    for run in page.runs:
        letters = unknown_letters([run.name, *(page.label(result) for result in run.results)])
        if letters:
            what = f'a font with the letters {letters}, so that pictures show boxes for them: install Noto Sans CJK'
            found.append(Missing(run.name, what))
    return found


def headline(sections: Sequence[Section], runs: Sequence[Run]) -> str:
    """Which run leads on the main data set, by how much, and what speaks against comparing."""
    if not sections:
        return 'No run has figures that count.'
    section = sections[0]
    kind, name = section.kinds[0], {'segm': 'mask mAP', 'bbox': 'box mAP'}[section.kinds[0]]
    values = {run: focused(it['scores'][kind], section.focus)['mAP'] for run, it in section.of(kind).items()}
    ranks = sorted(((value, run) for run, value in values.items() if is_figure(value)), key=lambda it: -it[0])
    what = f'{name} of {section.focus}' if section.focus else name
    if len(ranks) < 2:
        alone = 'One run has' if ranks else 'No run has'
        return f'{alone} figures of {what} on {section.label}: there is nothing to compare.'
    first = [run for value, run in ranks if value == ranks[0][0]]
    doubt = _doubt(section, first, ranks[len(first)][1] if len(ranks) > len(first) else None, runs)
    if len(first) > 1:
        return f'{listed(first)} share the highest {what} on {section.label}, {number(ranks[0][0])}.{doubt}'
    lead = ranks[0][0] - ranks[1][0]
    ahead = number(lead) if lead >= 0.0005 else 'less than 0.001'
    return (
        f'{first[0]} leads in {what} on {section.label}: {number(ranks[0][0])}, {ahead} ahead of {ranks[1][1]}.{doubt}'
    )


def _doubt(section: Section, first: Sequence[str], next_best: str | None, runs: Sequence[Run]) -> str:
    """A proof that lacks, and trainings that were not equally long, of those that lead and of the next."""
    unproved = [it.run for it in section.results if it.run in (*first, next_best) and not it.proved]
    by_name = {run.name: run for run in runs}
    epochs = {it.run: by_name[it.run].epochs(it) for it in section.results if it.run in (*first, next_best)}
    texts = [f'The evaluation of {listed(unproved)} is not proved.'] if unproved else []
    if len(set(epochs.values())) > 1 and None not in epochs.values():
        lengths = [f'{run} for {counted(count, "epoch")}' for run, count in epochs.items()]
        texts.append(f'They were not trained alike: {", ".join(lengths)}.')
    return ''.join(f' {text}' for text in texts)


def _refusals(runs: Sequence[Run]) -> list[Refusal]:
    found = []
    for run in runs:
        found += [
            Refusal(run.name, it.dataset.name, it.reasons, test_command(run, it)) for it in run.results if it.reasons
        ]
        if run.refused and not run.own:
            name = f'the validation on {Dataset.of(run.validation).name}'
            found.append(Refusal(run.name, name, faults_of(run.validation), test_command(run)))
    return found


def _tested_by_others(run: Run, runs: Sequence[Run]) -> list[str]:
    """The subsets of runs whose own data set is the same."""
    alike = [other for other in runs if _own_name(other) == _own_name(run)]
    return sorted({result.subset for other in alike for result in other.results if result.subset})


def _own_name(run: Run) -> str | None:
    metrics = run.own.metrics if run.own else run.validation
    return Dataset.of(metrics).name if metrics else None


def _write_csv(page: Page, topics: Sequence[Topic]) -> list[str]:
    sheets = [sheet for topic in topics for block in topic.blocks for sheet in block.sheets]
    sheets += [sheet for section in page.sections for sheet in figures.classes(section)]
    by_name: dict[str, list[Sheet]] = {}
    for sheet in sheets:
        if sheet.name and sheet.rows:
            by_name.setdefault(f'{sheet.name}.csv', []).append(sheet)
    for name, several in by_name.items():
        _write(page.out / name, csv_of(several))
    return list(by_name)


def _breakable(name: str) -> Markup:
    """A name that may go on in the next line after its underscores."""
    return Markup(str(escape(name)).replace('_', '_<wbr>'))


def _render(name: str, report: Report) -> str:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / 'templates'),
        autoescape=select_autoescape(enabled_extensions=('html.j2',)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {'md': as_markdown, 'breakable': _breakable}
    return templates.get_template(name).render(
        report=report, page=report.page, reading=READING, version=damamba.__version__
    )
