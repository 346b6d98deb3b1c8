"""Made-up figures of runs, and what is seen in pictures that compare them."""

import numpy as np

from damamba.reporting.logs import TrainingLog

LONG = 'mask_rcnn_DAMamba_nano_fpn_armbench_demo'
ERRORS = ('classification', 'localisation', 'missed', 'false positives', 'false negatives')
SIZES = ('s', 'm', 'l')


def scores(level: float) -> dict[str, float]:
    ap = {'mAP': level, 'mAP_50': level * 1.5, **{f'mAP_{s}': level / (k + 1.7) for k, s in enumerate(SIZES)}}
    return {**ap, **{f'AR@{n}': level + n / 1000 for n in (1, 10, 100)}, **{f'AR_{s}@100': level / 3 for s in SIZES}}


def sized(level: float) -> dict[str, float]:
    return {f'mAP_{s}': level / (k + 2.3) for k, s in enumerate(SIZES)}


def evaluation(level: float, details: bool = True) -> dict:
    """What metrics.json has of one test; the tote is always twice as good as the object."""
    both = {'Object': level, 'Tote': 2 * level}
    made = {'values': scores(1.5 * level), 'classes': {name: scores(value) for name, value in both.items()}}
    part = {
        'sizes': {'values': sized(1.5 * level), 'classes': {name: sized(value) for name, value in both.items()}},
        'curves': {
            name: {o: np.linspace(value, 0, 101).tolist() for o in ('0.50', '0.75')} for name, value in both.items()
        },
        'errors': {
            'values': {'AP50': 1.5 * level, **dict.fromkeys(ERRORS, level / 5)},
            'classes': {n: {'AP50': v, **{e: v / (k + 3) for k, e in enumerate(ERRORS)}} for n, v in both.items()},
        },
        'segmentation': {
            'values': {'under rate': level, 'over rate': level / 2},
            'classes': {name: {'under rate': value / 3, 'over rate': value / 7} for name, value in both.items()},
        },
    }
    kinds = {'bbox': {**part, 'segmentation': None}, 'segm': part}
    return {'scores': {'bbox': made, 'segm': made}, 'details': {'kinds': kinds} if details else None}


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


def evaluations(count: int) -> dict[str, dict]:
    return {name: evaluation(0.1 + 0.3 * k / count) for k, name in enumerate(names(count))}


def heights(axes) -> dict[str, list[float]]:
    """The bars of each run, from left to right."""
    found = {}
    for container in axes.containers:
        found.setdefault(container.get_label(), []).extend(bar.get_height() for bar in container)
    return found


def labels(axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


def legend(figure) -> list[str]:
    return [text.get_text().replace('\n', '') for text in figure.legends[0].get_texts()]
