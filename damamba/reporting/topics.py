"""The topics of topics.csv, each with the tables and pictures of every data set, of which the main one is first."""

from collections import Counter
from collections.abc import Mapping

from damamba.reporting import charts
from damamba.reporting.ground_truth import Section
from damamba.reporting.page import Block, Report, Topic
from damamba.reporting.run_tables import proof_table, setup_table, shown_figures, tables_of, versions_table
from damamba.reporting.runs import Result
from damamba.reporting.words import KINDS, listed, notes, read_csv

Row = Mapping[str, str]  # of topics.csv
OTHERS = ' Runs that were tested on other annotations, or scored in another way, have a table of their own.'
MAIN = ' (the main data set)'


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
    maps = {run.name: run.log for run in report.runs if run.log.has_map and run.name not in refusals}
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
    return [_proof_block(report.label(result), result) for run in report.runs for result in run.results]


def _proof_block(label: str, result: Result) -> Block:
    proof, title = result.get('proof'), f'{result.run.name} on {label}'
    if not proof:
        return Block(f'{title}: not proved', notes=notes('proof', None), folded=True)
    counts = Counter(check.get('passed') for check in proof['checks'])
    parts = {'hold': counts[True], 'do NOT hold': counts[False], 'had nothing to see': counts[None]}
    claims = ', '.join(f'{count} {what}' for what, count in parts.items() if count)
    title += f': {"proved" if proof["passed"] else "NOT PASSED"}; of {len(proof["checks"])} claims {claims}'
    tables = [proof_table(label, result)]
    return Block(title, tables, notes=notes('proof', proof), folded=True, opened=not proof['passed'])


def setup_blocks(report: Report, row: Row) -> list[Block]:
    """Versions, devices and commands."""
    table = setup_table(report.runs, report.label)
    versions = versions_table(table)
    packages = {
        it.key: dict.fromkeys(row[it.key] for row in versions.rows if it.key in row) for it in versions.columns[2:]
    }
    commands = [(f'{it["run"]}, {it["what"]}', it['command']) for it in table.rows if it.get('command')]
    told = notes('setup', packages, len(commands) == len(table.rows))
    blocks = [Block(tables=[table, versions], notes=told), Block('Commands', commands=commands)]
    return blocks if commands else blocks[:1]


OF_ALL = {'training': training_blocks, 'overview': overview_blocks, 'proof': proof_blocks, 'setup': setup_blocks}
