"""The tables of a report: the figures of metrics.json, sorted into columns; nothing is computed anew."""

from collections.abc import Iterable, Mapping, Sequence

from damamba.evaluation.tables import NAMES
from damamba.reporting.runs import Result, Run
from damamba.reporting.sections import Section, focused
from damamba.reporting.sheets import Column, Sheet, Value, gigabytes, millions, plain
from damamba.reporting.words import place_of

DATASET = Column('data set', hidden=True)
RUN = Column('run')
PROVED = {True: 'proved', False: 'not proved'}
SIZES = {'small': '_s', 'medium': '_m', 'large': '_l'}
FEW_CLASSES = 8  # as many as there is room for beside each other


def comparison(section: Section, runs: Sequence[Run]) -> Sheet:
    """The table to decide from: a row for each run."""
    by_name = {run.name: run for run in runs}
    fair = not unlike_speeds(section)
    columns = [DATASET, RUN, Column('parameters', form=millions), *_score_columns(section)]
    columns += [
        Column('seconds', 's a picture', better='low' if fair else None),
        Column('peak_memory', 'peak memory', better='low' if fair else None, form=gigabytes),
        Column('epochs', form=plain),
        Column('proof'),
    ]
    rows = [_compared(section, result, by_name[result.run]) for result in section.results]
    return Sheet('comparison', section.label, columns, rows)


def _score_columns(section: Section) -> list[Column]:
    most, columns = section.most, []
    headings = {'mAP_50': 'AP50', 'mAP_75': 'AP75', f'AR@{most}': f'AR@{most}'}
    if section.focus:
        of_focus = {'mAP': 'AP', 'mAP_50': 'AP50', f'AR@{most}': f'AR@{most}'}
        group = f'{section.focus}, {NAMES[section.kinds[0]]}s'.replace('boxs', 'boxes')
        columns = [_figure(f'{section.focus} {section.kinds[0]}_{key}', it, group) for key, it in of_focus.items()]
    for kind in section.kinds:
        group = {'segm': 'masks', 'bbox': 'boxes'}[kind] + (', all classes' if section.focus else '')
        columns += [_figure(f'{kind}_{key}', headings.get(key, key), group) for key in ('mAP', 'mAP_50', 'mAP_75')]
    return columns


def _figure(key: str, heading: str = '', group: str = '', better: str | None = 'high') -> Column:
    return Column(key, heading, group, better)


def _compared(section: Section, result: Result, run: Run) -> dict[str, Value]:
    row: dict[str, Value] = {'data set': section.label, 'run': run.name, 'parameters': run.parameters}
    for kind, scores in result.evaluation['scores'].items():
        row |= {f'{kind}_{key}': value for key, value in scores['values'].items()}
        if section.focus:
            row |= {f'{section.focus} {kind}_{key}': it for key, it in scores['classes'][section.focus].items()}
    speed = result.speed or {}
    row |= {'seconds': speed.get('overall', {}).get('median'), 'peak_memory': speed.get('peak_memory')}
    return row | {'epochs': run.epochs(result), 'proof': PROVED[result.proved]}


def sizes(section: Section, kind: str) -> Sheet:
    """AP by COCO's areas in pixels, and by parts of the picture where there are details."""
    columns = [*_common(), *(_figure(f'mAP{end}', size, 'by pixels (32², 96²)') for size, end in SIZES.items())]
    columns += [_figure(f'relative mAP{end}', size, 'by share of the picture') for size, end in SIZES.items()]
    rows = []
    for result, row, scores in _rows(section, kind):
        relative = (result.details.get(kind) or {}).get('sizes')
        of_shares = focused(relative, section.focus) if relative else {}
        rows.append(row | {f'mAP{end}': scores.get(f'mAP{end}') for end in SIZES.values()})
        rows[-1] |= {f'relative mAP{end}': of_shares.get(f'mAP{end}') for end in SIZES.values()}
    return Sheet('sizes', _titled('AP by size', section, kind), columns, rows)


def recall(section: Section, kind: str) -> Sheet:
    """AR by the number of detections that count, and by size."""
    names = [name for name in next(iter(section.of(kind).values()))['scores'][kind]['values'] if name.startswith('AR')]
    by_size = {f'AR{end}@{section.most}': size for size, end in SIZES.items()}
    columns = [
        *_common(),
        *(_figure(name, by_size.get(name, name), 'by size' if name in by_size else '') for name in names),
    ]
    rows = [row | {name: scores.get(name) for name in names} for _, row, scores in _rows(section, kind)]
    return Sheet('recall', _titled('Recall', section, kind), columns, rows)


def errors(section: Section, kind: str) -> Sheet:
    """AP50, and how much of it each kind of error costs."""
    having = section.detailed(kind, 'errors')
    parts = {run: focused(it['details']['kinds'][kind]['errors'], section.focus) for run, it in having.items()}
    names = list(dict.fromkeys(name for part in parts.values() for name in part))
    columns = [*_common(), *(_figure(name, better='high' if name == 'AP50' else None) for name in names)]
    rows = [row | dict(parts[row['run']]) for _, row, _ in _rows(section, kind) if row['run'] in parts]
    return Sheet('errors', _titled('AP50, and what errors cost of it', section, kind), columns, rows)


def segmentation(section: Section) -> Sheet:
    """Masks that cover several objects, and objects under several masks."""
    having = section.detailed('segm', 'segmentation')
    parts = {run: focused(it['details']['kinds']['segm']['segmentation'], section.focus) for run, it in having.items()}
    counts = [Column(name) for name in ('objects', 'masks', 'under', 'over')]
    columns = [*_common(), *counts, *(_figure(name, better=None) for name in ('under rate', 'over rate'))]
    rows = [row | dict(parts[row['run']]) for _, row, _ in _rows(section, 'segm') if row['run'] in parts]
    return Sheet('segmentation', _titled('Over- and under-segmentation', section, 'segm'), columns, rows)


def latency(section: Section) -> Sheet:
    """Median seconds a picture by the number of objects in it; the 90 % mark and the pictures are in CSV."""
    speeds = section.speeds
    bins = sorted(
        {name for it in speeds.values() for name in it['bins']}, key=lambda name: int(name.strip('+').split('-')[0])
    )
    better = None if unlike_speeds(section) else 'low'
    columns = [DATASET, RUN, Column('median', 'all pictures', better=better), Column('p90', '90 % mark', better=better)]
    for name in bins:
        columns.append(Column(f'{name} median', name, 'by objects in a picture', better))
        columns += [Column(f'{name} {part}', hidden=True) for part in ('p90', 'pictures')]
    columns += [Column('peak_memory', 'peak memory', better=better, form=gigabytes), Column('pictures', hidden=True)]
    columns += [Column(name, hidden=True) for name in ('device', 'kind', 'processes', 'threads', 'batch_size')]
    rows = [{'data set': section.label, 'run': run, **_flat(speed)} for run, speed in speeds.items()]
    return Sheet('latency', f'Seconds a picture: {section.label}', columns, rows)


def _flat(speed: Mapping) -> dict[str, Value]:
    row = {f'{name} {part}': value for name, times in speed['bins'].items() for part, value in times.items()}
    row |= {name: speed.get(name) for name in ('peak_memory', 'device', 'kind', 'processes', 'threads', 'batch_size')}
    return row | speed['overall']


def unlike_speeds(section: Section) -> list[str]:
    """On what the runs' times were measured, where that is not the same for all."""
    places = {run: place_of(speed) for run, speed in section.speeds.items()}
    return [f'{run}: {place}' for run, place in places.items()] if len(set(places.values())) > 1 else []


def classes(section: Section) -> list[Sheet]:
    """For CSV: every figure by class and kind."""
    sheets = []
    for kind in section.kinds:
        rows = [
            {'data set': section.label, 'run': run, 'kind': kind, 'class': name, **values}
            for run, evaluation in section.of(kind).items()
            for name, values in evaluation['scores'][kind]['classes'].items()
        ]
        names = dict.fromkeys(key for row in rows for key in row)
        sheets.append(Sheet('classes', '', [Column(name) for name in names], rows))
    return sheets


def by_class(section: Section, kind: str) -> Sheet:
    """AP of each class."""
    columns = [RUN, *(_figure(name) for name in section.classes)]
    rows = [
        {'run': run, **{name: values['mAP'] for name, values in evaluation['scores'][kind]['classes'].items()}}
        for run, evaluation in section.of(kind).items()
    ]
    return Sheet('', f'{NAMES[kind].capitalize()} AP by class: {section.label}', columns, rows)


def checks(label: str, result: Result) -> Sheet:
    """The claims of a proof."""
    holds = {True: 'yes', False: 'NO', None: '-'}
    columns = [DATASET, Column('run', hidden=True), Column('claim'), Column('holds'), Column('seen')]
    rows = [
        {'data set': label, 'run': result.run, 'claim': it['name'], 'holds': holds[it['passed']], 'seen': it['seen']}
        for it in result.checks
    ]
    return Sheet('proof', f'{result.run} on {label}', columns, rows)


def _common() -> list[Column]:
    return [DATASET, RUN, Column('kind', hidden=True), Column('class', hidden=True)]


def _rows(section: Section, kind: str) -> Iterable[tuple[Result, dict[str, Value], Mapping[str, float]]]:
    """Each result with this kind, the start of its row, and the figures of the focus or their mean."""
    for result in section.results:
        if kind in result.evaluation['scores']:
            row = {'data set': section.label, 'run': result.run, 'kind': kind, 'class': section.focus or 'mean'}
            yield result, row, focused(result.evaluation['scores'][kind], section.focus)


def _titled(what: str, section: Section, kind: str) -> str:
    return f'{what}, {({"segm": "masks", "bbox": "boxes"})[kind]}, {section.of_what()}: {section.label}'
