"""The tables of a report: the figures of metrics.json, sorted into columns; nothing is computed anew."""

import fnmatch
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import product

from damamba.evaluation.comparison import is_meaningful
from damamba.evaluation.results import NAMES
from damamba.reporting.charts.latency import sorted_bins
from damamba.reporting.ground_truth import ENDS, Section, scored
from damamba.reporting.runs import Result, Run
from damamba.reporting.words import FEW_CLASSES, KINDS, counted, read_csv
from damamba.tables import Column, Table, as_is, gigabytes, is_figure, millions, number

FORMS = {'': number, 'as is': as_is, 'millions': millions, 'gigabytes': gigabytes}
high = partial(Column, better='high')
PRECISIONS = {'mAP': 'mAP', 'mAP_50': 'AP50', 'mAP_75': 'AP75'}
Figures = Mapping[str, Mapping[str, float]]  # by run
TAG = 'published, not measured here'
COPIED = 'Published figures are copied, with the digits that were published; nobody measured them here.'
APART = (
    'The published figures are of the {}. The runs here were tested on {}: the two do not compare, and no run of this '
    'report stands in this table.'
)
DRAWN = APART.format('real pictures', 'drawn ones, a stand-in of the same layout')


def columns_of(topic: str, alike: bool = True, figures: Figures | None = None) -> list[Column]:
    """The columns of a topic's table by columns.csv; where times were not measured ``alike`` none is the best."""
    return [
        Column(key, it['heading'], it['group'], it['better'] if alike else None, FORMS[it['form']], bool(it['hidden']))
        for key, it in shown_figures(topic, figures or {}).items()
    ]


def shown_figures(topic: str, figures: Figures) -> dict[str, dict[str, str]]:
    """The rows of columns.csv of a topic by their keys, in which a star stands for all that runs have, by number."""
    names = {name: int(name.partition('@')[2] or 0) for it in figures.values() for name in it}
    shown = {}
    for row in read_csv('columns.csv'):
        matching = fnmatch.filter(sorted(names, key=names.get), row['key']) if '*' in row['key'] else [row['key']]
        shown |= {key: row for key in matching if row['topic'] == topic and key not in shown}
    return shown


def tables_of(section: Section, topic: Mapping[str, str]) -> list[Table]:
    """Those that a topic of topics.csv has for a data set; ``table`` is the title of one for each kind of figures."""
    name, part, classes = topic['anchor'], topic['part'], len(section.classes)
    if name in OF_ALL_KINDS:
        return [*filter(None, [OF_ALL_KINDS[name](section)])]
    if name == 'classes':
        return [class_table(section, kind) for kind in section.kinds] if 1 < classes <= FEW_CLASSES else []
    if name == 'differences':
        return [difference_table(topic, section, kind) for kind in section.kinds]
    return [figure_table(topic, section, kind) for kind in section.kinds if topic['table'] and section.of(kind, part)]


def comparison_table(section: Section) -> Table:
    """The table to decide from: a row for each run."""
    columns, end, rows = columns_of('comparison', not section.unlike_places), '', []
    shown = []
    if section.focus:
        kind, end, recall = section.kinds[0], ', all classes', f'AR@{section.evaluation["max_dets"][-1]}'
        headings, group = {'mAP': 'AP', 'mAP_50': 'AP50', recall: recall}, f'{section.focus}, {KINDS[kind]}'
        shown = [_precision(f'{section.focus} {kind}_{key}', it, group) for key, it in headings.items()]
    for kind in section.kinds:
        shown += [_precision(f'{kind}_{key}', it, KINDS[kind] + end) for key, it in PRECISIONS.items()]
    columns[3:3] = shown
    for it in section.results:
        speed = it.get('speed') or {}
        row = {'data set': section.label, 'run': it.run.name, 'parameters': it.run.told('parameters', newest=True)}
        row |= {'seconds': speed.get('overall', {}).get('median'), 'peak_memory': speed.get('peak_memory')}
        for kind, scores in it.evaluation['scores'].items():
            row |= {f'{kind}_{key}': value for key, value in scored(scores, None).items()}
            row |= {f'{section.focus} {kind}_{key}': value for key, value in scored(scores, section.focus).items()}
        rows.append({**row, 'epochs': it.epochs, 'proof': it.trust})
    marks = {it.key: _near_the_best(rows, it.key) for it in shown if 'AR@' not in it.key}
    for kind, focus in product(section.kinds, dict.fromkeys((section.focus, None))):
        marks[f'{focus} {kind}_mAP' if focus else f'{kind}_mAP'] = _places(rows, section.ranking(kind, focus).marked)
    return Table('comparison', section.label, _with_ends(columns, rows), rows, marks=marks)


def _precision(key: str, heading: str, group: str) -> Column:
    """A column of AP or AR; the interval is shown of mAP alone, since there is no room for more."""
    return Column(key, heading, group, 'high', spread=key.endswith('_mAP'))


def _with_ends(columns: Sequence[Column], rows: Sequence[Mapping]) -> list[Column]:
    """Columns, with those for the ends of their intervals beside them, in CSV alone, where rows have some."""
    there, all_columns = {key for row in rows for key in row}, []
    for column in columns:
        keys = [f'{column.key} {end}' for end in ENDS]
        all_columns += [column, *(Column(key, hidden=True) for key in keys if key in there)]
    return all_columns


def _places(rows: Sequence[Mapping], runs: Container[str]) -> list[int]:
    return [place for place, row in enumerate(rows) if row['run'] in runs]


def _near_the_best(rows: Sequence[Mapping], key: str) -> list[int]:
    """The best value and those whose intervals reach its; none where it means nothing, or one has no interval."""
    measured = [row for row in rows if is_figure(row.get(key))]
    if len(measured) < 2 or not all(f'{key} {end}' in row for row in measured for end in ENDS):
        return []
    best = max(measured, key=lambda row: row[key])
    near = {row['run'] for row in measured if row[f'{key} high'] >= best[f'{key} low']}
    ends = [best[f'{key} {end}'] for end in ENDS]
    return _places(rows, near) if is_meaningful(best[key], ends) else []


def figure_table(topic: Mapping[str, str], section: Section, kind: str) -> Table:
    """A row of figures for each run, of masks or of boxes: sizes, recall, errors or segmentation."""
    name, figures = topic['anchor'], section.figures(kind, topic['part'])
    columns = columns_of('figures') + columns_of(name, figures=figures)
    start = {'data set': section.label, 'kind': kind, 'class': section.focus or 'mean'}
    rows = [{**start, 'run': run, **of_run} for run, of_run in figures.items()]
    title = f'{topic["table"]}, {KINDS[kind]}, {section.of_what()}: {section.label}'
    columns = _with_ends(columns, rows)
    hidden = {column.key for column in columns if column.hidden}
    marks = {it.key: _near_the_best(rows, it.key) for it in columns if f'{it.key} low' in hidden}
    return Table(name, title, columns, rows, marks=marks)


def difference_table(topic: Mapping[str, str], section: Section, kind: str) -> Table:
    """How far runs lie above each other in mAP, by pairs; of many runs, the first above each."""
    ranking, rows = section.ranking(kind, section.focus), []
    start = {'data set': section.label, 'kind': kind, 'class': section.focus or 'mean'}
    for run, other, it in ranking.pairs():
        pair = {'run': run, 'mAP': ranking.figures[run], 'other': other, 'other mAP': ranking.figures[other]}
        told = {'difference': ranking.figures[run] - ranking.figures[other], 'verdict': ranking.verdict(run, other)}
        if it:
            more = None if it.is_clear else it.more_pictures
            told |= {'difference low': it.low, 'difference high': it.high, 'more pictures': more}
        rows.append(start | pair | told)
    title = f'{topic["table"]}, {KINDS[kind]}, {section.of_what()}: {section.label}'
    columns = [replace(it, spread=it.key == 'difference') for it in columns_of('figures') + columns_of(topic['anchor'])]
    return Table(topic['anchor'], title, _with_ends(columns, rows), rows)


def latency_table(section: Section) -> Table:
    """Median seconds a picture by the number of objects in it; the 90 % mark and the pictures are in CSV."""
    better, rows = None if section.unlike_places else 'low', []
    columns, group = columns_of('latency', not section.unlike_places), 'by objects in a picture'
    for name in reversed(sorted_bins(section.speeds)):
        columns.insert(4, Column(f'{name} median', name, group, better))
        columns[5:5] = [Column(f'{name} {part}', hidden=True) for part in ('p90', 'pictures')]
    for run, speed in section.speeds.items():
        by_bin = {f'{name} {part}': value for name, times in speed['bins'].items() for part, value in times.items()}
        rows.append({'data set': section.label, 'run': run, **speed, **by_bin, **speed['overall']})
    return Table('latency', f'Seconds a picture: {section.label}', columns, rows)


def published_table(section: Section) -> Table | None:
    """Published figures below those of the runs; alone on drawn or few pictures; None where nothing was published.

    In published.csv ``only`` says of which pictures a file has to be: files of other scenes may have COCO's names.
    ``pictures`` are those of a whole test: how many of the 44,253 of the mixed totes its test set has is not said where
    the figures are, so that 1000 or more can be it; of the third set the test set has 507, the validation set 496.
    """
    images, names = section.evaluation['images'], {result.data for result in section.results}
    only = ('', f'{images} pictures of {len(section.classes)} classes')
    found = [it for it in read_csv('published.csv') if it['data set'] in names and it['only'] in only]
    if not found:
        return None
    whole = {it['data set']: it['pictures'] for it in found}.get(section.results[0].data)
    is_whole = not whole or (images >= int(whole[:-1]) if whole.endswith('-') else str(images) in whole.split())
    some = APART.format('whole data set', f'{counted(images, "picture")}, which are not all of it')
    note = DRAWN if any(it.drawn for it in section.results) else COPIED if is_whole else some
    rows = []
    for result in section.results if note == COPIED else ():
        for focus in dict.fromkeys((section.focus, None)):  # the class in focus, and the mean over classes
            scores = {kind: scored(it, focus) for kind, it in result.evaluation['scores'].items()}
            masks, boxes = (scores.get(kind, {}) for kind in ('segm', 'bbox'))
            row = {'data set': section.label, 'run': result.run.name, 'whose': 'here', 'box mAP': boxes.get('mAP')}
            row |= {heading: masks.get(key) for key, heading in PRECISIONS.items()}
            rows.append(row | {'remark': focus or ('mean of all classes' if section.focus else '')})
    rows += [{**{key: it[key] or None for key in it}, 'data set': section.label, 'whose': TAG} for it in found]
    return Table('published', f'Published figures: {section.label}', columns_of('published'), rows, note)


def class_table(section: Section, kind: str) -> Table:
    """AP of each class."""
    rows = [
        {'run': run, **{name: values['mAP'] for name, values in scores['classes'].items()}}
        for run, scores in section.of(kind).items()
    ]
    title = f'{NAMES[kind].capitalize()} AP by class: {section.label}'
    marks = {name: _places(rows, section.ranking(kind, name).marked) for name in section.classes}
    return Table('', title, [Column('run'), *map(high, section.classes)], rows, marks=marks)


def all_classes_table(section: Section) -> Table:
    """Every figure by class and kind, for CSV."""
    rows = [
        {'data set': section.label, 'run': run, 'kind': kind, 'class': name, **scored(scores, name)}
        for kind in section.kinds
        for run, scores in section.of(kind).items()
        for name in scores['classes']
    ]
    return Table('classes', '', [Column(name) for name in dict.fromkeys(key for row in rows for key in row)], rows)


def proof_table(label: str, result: Result) -> Table:
    """The claims of a proof."""
    start, holds = {'data set': label, 'run': result.run.name}, {True: 'yes', False: 'NO', None: '-'}
    checks = result.get('proof')['checks']
    rows = [{**start, 'claim': it['name'], 'holds': holds[it.get('passed')], 'seen': it['seen']} for it in checks]
    return Table('proof', f'{result.run.name} on {label}', columns_of('proof'), rows)


def diagnosis_table(label: str, result: Result) -> Table:
    """What explains the figures of a file of results, the best explanation first."""
    start, rows = {'data set': label, 'run': result.run.name}, []
    for it in result.verdict['explanations']:
        told = {'faults': ', '.join(it['faults']), 'figures': KINDS.get(it.get('kind')), 'mAP': it['mAP']}
        rows.append(start | told | {'sentence': it['sentence']})
    return Table('diagnosis', f'{result.run.name} on {label}', columns_of('diagnosis'), rows)


def setup_table(runs: Sequence[Run], label: Callable[[Result], str]) -> Table:
    """With what each training and each test was made; ``label`` names the data set of a test."""
    rows = []
    for run in runs:
        for it in run.trainings:
            duration = str(timedelta(seconds=round(it['seconds']))) if is_figure(it.get('seconds')) else None
            told = {'date': it.get('started'), 'duration': duration if it.get('finished') else 'did not end'}
            rows.append({**it, 'run': run.name, 'what': 'training', **told})
        for it in run.results:
            speed = it.get('speed') or {}
            told = {'processes': it.get('processes') or speed.get('processes'), 'sha256': it.of_data('sha256')}
            told |= {key: speed.get(key) for key in ('device', 'batch_size')}
            what = f'{"file of results" if it.verdict else "test"} on {label(it)}'
            rows.append({**it.content, 'run': run.name, 'what': what, **told})
    return Table('setup', 'Trainings and tests', columns_of('setup'), rows)


def versions_table(setup: Table, packages: Iterable[str]) -> Table:
    """The packages with which the same was made."""
    rows = [{'run': it['run'], 'what': it['what'], **it['versions']} for it in setup.rows if it.get('versions')]
    columns = [Column('run'), Column('what'), *(Column(name, form=as_is) for name in packages)]
    return Table('versions', 'Versions', columns, rows)


OF_ALL_KINDS = {'comparison': comparison_table, 'latency': latency_table, 'published': published_table}
