"""Made-up figures of runs, and what is seen in pictures that compare them."""

from pathlib import Path

import numpy as np
from matplotlib.container import BarContainer

from damamba.reporting import charts
from damamba.reporting.ground_truth import Section
from damamba.reporting.logs import TrainingLog
from damamba.reporting.run_tables import shown_figures
from damamba.reporting.runs import Result, Run
from damamba.reporting.words import read_csv

LONG = 'mask_rcnn_DAMamba_nano_fpn_armbench_demo'
ERRORS = ('classification', 'localisation', 'missed', 'false positives', 'false negatives')
SIZES = ('s', 'm', 'l')


def scores(level: float) -> dict[str, float]:
    ap = {'mAP': level, 'mAP_50': level * 1.5, **{f'mAP_{s}': level / (k + 1.7) for k, s in enumerate(SIZES)}}
    return {**ap, **{f'AR@{n}': level + n / 1000 for n in (1, 10, 100)}, **{f'AR_{s}@100': level / 3 for s in SIZES}}


def by_class(level: float, figures) -> dict:
    """Figures of the mean, and of two classes; the tote is always twice as good as the object."""
    return {'values': figures(1.5 * level), 'classes': {'Object': figures(level), 'Tote': figures(2 * level)}}


def evaluation(level: float, details: bool = True) -> dict:
    """What metrics.json has of one test."""
    curves = {
        n: {o: np.linspace(v, 0, 101).tolist() for o in ('0.50', '0.75')}
        for n, v in (('Object', level), ('Tote', 2 * level))
    }
    part = {
        'sizes': by_class(level, lambda v: {f'mAP_{s}': v / (k + 2.3) for k, s in enumerate(SIZES)}),
        'curves': curves,
        'errors': by_class(level, lambda v: {'AP50': v, **{e: v / (k + 3) for k, e in enumerate(ERRORS)}}),
        'segmentation': by_class(level, lambda v: {'under rate': v / 3, 'over rate': v / 7}),
    }
    picks = {'pick score': level, 'on top': level, 'on an object': 2 * level, 'on none': level / 3, 'seen empty': -1.0}
    kinds = {'bbox': {**part, 'segmentation': None}, 'segm': {**part, 'picks': {'values': picks}}}
    scored = dict.fromkeys(kinds, by_class(level, scores))
    return {'scores': scored, 'details': {'kinds': kinds} if details else None}


def section(data: dict[str, dict], focus: str | None) -> Section:
    """What a report has of evaluations by run."""
    results = []
    for name, it in data.items():
        run = Run(name, Path(name), TrainingLog())
        results.append(Result(run, run.folder, '', {'evaluations': {'coco': it}}))
    return Section('data', 'data', results, focus)


def figures(topic: str, data: dict[str, dict], kind: str, focus: str | None) -> tuple:
    """The chart of a topic, and what it is given: bars of figures of evaluations by run."""
    row = next(it for it in read_csv('topics.csv') if it['anchor'] == topic)
    found = section(data, focus).figures(kind, row['part'])
    return charts.draw_figures, found, 'things', shown_figures(topic, found), row


def log(epochs: int, per_epoch: int = 70, step: int = 20, loss: float = 3.0, level: float = 0.3) -> TrainingLog:
    """What MMEngine logs: every ``step`` iterations of each epoch; a validation after each."""
    train = [
        {'iter': e * per_epoch + i, 'epoch': e + 1, 'loss': loss / (1 + e + i / per_epoch)}
        for e in range(epochs)
        for i in range(step, per_epoch + 1, step)
    ]
    names = {'coco/segm_mAP': level / epochs, 'coco/bbox_mAP': level / 2 / epochs}
    values = [{**{name: value * e for name, value in names.items()}, 'epoch': e} for e in range(1, epochs + 1)]
    return TrainingLog(train, values)


def speed(base: float, kind: str = 'cuda', processes: int = 1) -> dict:
    factors = {'100+': 1, '5-10': 2, '0-5': 3, '50-100': 4, '10-15': 5}
    bins = {name: {'pictures': 5, 'median': base * k, 'p90': base * k * 1.5} for name, k in factors.items()}
    place = {'device': 'H100', 'kind': kind, 'processes': processes, 'threads': 1, 'batch_size': 1}
    overall = {'pictures': 25, 'median': base * 3, 'p90': base * 5}
    return {'overall': overall, 'bins': bins, 'peak_memory': 2_500_000_000, **place}


def names(count: int) -> list[str]:
    return [LONG, 'mask_rcnn_r50_fpn', *(f'run {n}' for n in range(count))][:count]


def heights(axes) -> dict[str, list[float]]:
    """The bars of each run, from left to right."""
    return {bars.get_label(): [bar.get_height() for bar in bars] for bars in bars_of(axes)}


def bars_of(axes) -> list[BarContainer]:
    """Without the lines of intervals."""
    return [it for it in axes.containers if isinstance(it, BarContainer)]


def labels(axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


def legend(figure) -> list[str]:
    return [text.get_text().replace('\n', '') for text in figure.legends[0].get_texts()]
