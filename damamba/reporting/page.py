"""The page of a report: the topics of topics.csv, each with the tables and pictures of every data set.

The templates know these parts and nothing else.
"""

import base64
import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from damamba.reporting import charts
from damamba.reporting.ground_truth import Section
from damamba.reporting.missing import Missing
from damamba.reporting.run_tables import (
    diagnosis_table,
    proof_table,
    setup_table,
    shown_figures,
    tables_of,
    versions_table,
)
from damamba.reporting.runs import Result, Run
from damamba.reporting.words import KINDS, listed, notes, read_csv
from damamba.tables import Table

Row = Mapping[str, str]  # of topics.csv
OTHERS = ' Runs that were tested on other annotations, or scored in another way, have a table of their own.'
MAIN = ' (the main data set)'


class Picture(NamedTuple):
    """A picture for a page."""

    name: str
    alt: str  # what stands for it where it can't be seen
    uri: str
    size: tuple[int, int]  # width and height in pixels


class Block(NamedTuple):
    """One data set's, or one run's, part of a topic; ``folded`` ones open at a click."""

    title: str = ''
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = ()
    commands: Sequence[tuple[str, str]] = ()  # what each does, and the command
    folded: bool = False
    opened: bool = False  # though it can be folded


class Topic(NamedTuple):
    """A part of the page with a heading."""

    anchor: str
    title: str
    text: str
    blocks: Sequence[Block]


class Refusal(NamedTuple):
    """Why the figures of a run on a data set do not count, and the command that tests it again, or shows more."""

    run: str
    dataset: str
    reasons: Sequence[str]
    command: str
    before: str = 'Once that is mended'  # what stands before the command


@dataclass
class Report:
    """What is reported of runs, sorted into sections."""

    title: str
    date: str
    out: Path
    folder: Path  # what pictures and files are written into; once it is whole it becomes ``out``
    runs: Sequence[Run]
    sections: Sequence[Section]
    headline: str
    palette: Mapping[str, str]
    least: float
    refusals: Sequence[Refusal]
    missing: Sequence[Missing]
    topics: Sequence[Topic] = ()
    files: Sequence[str] = ()  # those of CSV

    def picture(self, name: str, alt: str, draw: Callable[..., Path], *data: object, **options: object) -> Picture:
        """Have a picture drawn by a function of :mod:`damamba.reporting.charts` into a file of this name."""
        content = draw(*data, path=self.folder / name, palette=self.palette, **options).read_bytes()
        size = struct.unpack('>II', content[16:24])  # they stand at the beginning of a PNG
        return Picture(name, alt, f'data:image/png;base64,{base64.b64encode(content).decode()}', size)

    def label(self, result: Result) -> str:
        """What the data set of a result is called here."""
        return next((section.label for section in self.sections if result in section.results), result.data)


def topics_of(report: Report) -> list[Topic]:
    """All of topics.csv that there is something to show for, in its order; pictures are drawn on the way.

    There, ``heading`` stands above what a topic has of a data set, ``folded`` is what opens at a click but of the main
    one, ``part`` is what it needs of a test, ``notes`` is a macro, and ``alt`` says what its picture shows.
    """
    topics = []
    is_parted = len({section.results[0].data for section in report.sections}) < len(report.sections)
    words = {'others': OTHERS if is_parted else '', 'least': report.least}
    for row in read_csv('topics.csv'):
        name = row['anchor']
        if name in OF_ALL:
            blocks = OF_ALL[name](report, row)
        else:
            blocks = [*filter(None, (section_block(report, section, row) for section in report.sections))]
        if blocks:
            topics.append(Topic(name, row['title'], row['text'].format(**words), blocks))
    return topics


def training_blocks(report: Report, row: Row) -> list[Block]:
    """Losses, and mAP while training, of all runs."""
    refusals = {refusal.run for refusal in report.refusals}
    losses = {run.name: run.log for run in report.runs if run.log.train}
    believed = [run for run in report.runs if run.name not in refusals]
    maps = {run.name: run.log for run in believed if any('mAP' in key for row in run.log.val for key in row)}
    pictures = []
    if losses:
        alt = f'Curves: the loss by epoch of {listed(losses)}.'
        pictures.append(report.picture('losses.png', alt, charts.draw_losses, losses))
    if maps:
        alt = f'Curves: mask mAP and box mAP on the validation data by epoch, of {listed(maps)}.'
        pictures.append(report.picture('validation.png', alt, charts.draw_validation, maps))
    refused = [run.name for run in report.runs if run.log.val and run.name in refusals]
    return [Block(pictures=pictures, notes=notes('training', maps, refused))] if pictures else []


def overview_blocks(report: Report, row: Row) -> list[Block]:
    """AP50 and mAP of all runs on all data sets in one picture, by focus."""
    blocks = []
    for focus in dict.fromkeys(section.focus for section in report.sections):
        alike = [section for section in report.sections if section.focus == focus and 'segm' in section.kinds]
        scores = {section.label: section.figures('segm') for section in alike}
        if scores:
            name = f'overview-{len(blocks) + 1}.png' if blocks else 'overview.png'
            alt, what = row['alt'].format(label=listed(scores)), _subject('segm', focus)
            blocks.append(Block(pictures=[report.picture(name, alt, charts.draw_overview, scores, what=what)]))
    return blocks


def _subject(kind: str, focus: str | None) -> str:
    """What figures are of, for a title."""
    return f'{KINDS[kind]} of {focus}' if focus else f'{KINDS[kind]}, mean over classes'


def section_block(report: Report, section: Section, row: Row) -> Block | None:
    """A picture of masks, or else of boxes, tables, and notes, as far as there are figures for them."""
    name, kind, is_main = row['anchor'], section.kinds[0], section is report.sections[0]
    runs, pictures = section.figures(kind, row['part']), []
    if not runs:
        return None
    options = {'latency': {}, 'examples': {'least': report.least}}.get(name, {'what': _subject(kind, section.focus)})
    if row['chart']:
        options |= {'shown': shown_figures(name, runs), 'topic': row}
    if row['alt'] and (name != 'examples' or charts.shared_pictures(runs)):
        alt = row['alt'].format(kind=KINDS[kind], what=section.of_what(), label=section.label, runs=listed(runs))
        draw = getattr(charts, 'draw_figures' if row['chart'] else f'draw_{name.replace("-", "_")}')
        pictures = [report.picture(f'{section.slug}-{name}.png', alt, draw, runs, **options)]
    tables, told = tables_of(section, row), notes(row['notes'], report, section, runs, pictures)
    title = row['heading'].format(label=section.label, main=MAIN if is_main and len(report.sections) > 1 else '')
    block = Block(title, tables, pictures, told, folded=bool(row['folded']) and not is_main)
    return block if tables or pictures or told else None


def proof_blocks(report: Report, row: Row) -> list[Block]:
    """Of each test that counts, every claim and what was seen."""
    blocks = []
    for result in (result for run in report.runs for result in run.results):
        proof, label, tables, told, is_open = result.get('proof'), report.label(result), [], 'not proved', False
        if result.verdict:
            told, tables, is_open = result.trust, [diagnosis_table(label, result)], bool(result.verdict['explanations'])
        if proof:
            counts = Counter(check.get('passed') for check in proof['checks'])
            parts = {'hold': counts[True], 'do NOT hold': counts[False], 'had nothing to see': counts[None]}
            claims = ', '.join(f'{count} {what}' for what, count in parts.items() if count)
            told = f'{"proved" if proof["passed"] else "NOT PASSED"}; of {len(proof["checks"])} claims {claims}'
            tables, is_open = [proof_table(label, result)], not proof['passed']
        look = dict(notes=notes('proof', result), folded=True, opened=is_open)
        blocks.append(Block(f'{result.run.name} on {label}: {told}', tables, **look))
    return blocks


def setup_blocks(report: Report, row: Row) -> list[Block]:
    """Versions, devices and commands."""
    table = setup_table(report.runs, report.label)
    found = [it.get('versions') or {} for it in table.rows]
    packages = {name: dict.fromkeys(of[name] for of in found if name in of) for of in found for name in of}
    commands = [(f'{it["run"]}, {it["what"]}', it['command']) for it in table.rows if it.get('command')]
    told = notes('setup', packages, len(commands) == len(table.rows))
    blocks = [Block(tables=[table, versions_table(table, packages)], notes=told), Block('Commands', commands=commands)]
    return blocks if commands else blocks[:1]


OF_ALL = {'training': training_blocks, 'overview': overview_blocks, 'proof': proof_blocks, 'setup': setup_blocks}
