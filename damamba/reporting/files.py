"""Reading the JSON files of a run: what is not of the shape that this toolkit writes is no file of a run's."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
from faster_coco_eval.core import mask as rle

REST = '*'  # stands for every key that a shape does not name
BINS = re.compile(r'\d+(-\d+|\+)')  # numbers of objects


def number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def text(value: object) -> bool:
    return isinstance(value, str)


def flag(value: object) -> bool:
    return isinstance(value, bool)


class Maybe:
    """A shape that may be missing, or null."""

    def __init__(self, shape: object) -> None:
        self.shape = shape


EACH = {REST: number}
BY_CLASS = {'values': EACH, 'classes': {REST: EACH}}
SCORES = {'values': {'mAP': number, REST: number}, 'classes': {REST: {'mAP': number, REST: number}}}
DETAILS = {
    'sizes': Maybe(BY_CLASS),
    'curves': Maybe({REST: {REST: [number]}}),
    'errors': Maybe(BY_CLASS),
    'segmentation': Maybe(BY_CLASS),
}
EVALUATION = {
    'images': count,
    'objects': count,
    'max_dets': [count],
    'iou_thrs': [number],
    'scores': {REST: SCORES},
    'details': Maybe({'kinds': Maybe({REST: DETAILS})}),
    'faults': Maybe([{'name': text, 'evidence': text}]),
}
PROOF = {
    'passed': flag,
    'checks': [{'name': text, 'passed': Maybe(flag), 'seen': text}],
    'images': count,
    'objects': count,
    'ann_file': text,
    'head': text,
}
SPEED = {
    'overall': {'median': number, REST: number},
    'bins': {REST: EACH},
    'peak_memory': Maybe(number),
    'device': text,
    'kind': text,
    'processes': count,
    'threads': Maybe(count),
    'batch_size': count,
}
DATASET = {'name': Maybe(text), 'classes': Maybe([text]), 'description': Maybe(text), 'sha256': Maybe(text)}
METRICS = {
    'split': text,
    'evaluations': Maybe({REST: Maybe({})}),
    'proof': Maybe(PROOF),
    'speed': Maybe(SPEED),
    'dataset': Maybe(DATASET),
    'versions': Maybe({REST: text}),
    'parameters': Maybe(count),
    'processes': Maybe(count),
    **dict.fromkeys(('checkpoint', 'command', 'config', 'ann_file', 'date'), Maybe(text)),
}
START = {
    'mode': text,
    'versions': Maybe({REST: text}),
    **dict.fromkeys(('command', 'started', 'finished', 'config', 'device'), Maybe(text)),
    **dict.fromkeys(('processes', 'parameters', 'batch_size', 'seed'), Maybe(count)),
    'seconds': Maybe(number),
}
MASK = Maybe({'size': [count, count], 'counts': text})
OBJECT = {'bbox': [number, number, number, number], 'category_id': count, 'segmentation': MASK}
EXAMPLES = {
    'dataset': Maybe(DATASET),
    'images': [
        {
            'id': count,
            'width': count,
            'height': count,
            'picture': text,
            'annotations': [OBJECT],
            'predictions': [{**OBJECT, 'score': number}],
        }
    ],
}


def misfit(value: object, shape: object, where: str = '') -> str | None:
    """Where a value is not of a shape, such as ``speed.bins``; None if it fits.

    Shapes are predicates of plain values, dictionaries of shapes, lists of one shape for all members, or of one for
    each.
    """
    if isinstance(shape, Maybe):
        return None if value is None else misfit(value, shape.shape, where)
    if isinstance(shape, dict):
        return _of_keys(value, shape, where) if isinstance(value, dict) else where or 'the whole'
    if isinstance(shape, list):
        return _of_members(value, shape, where) if isinstance(value, list) else where
    return None if shape(value) else where


def _of_keys(value: dict, shape: dict, where: str) -> str | None:
    named = {key: part for key, part in shape.items() if key != REST}
    parts = [(value.get(key), part, key) for key, part in named.items()]
    if REST in shape:
        parts += [(it, shape[REST], key) for key, it in value.items() if key not in named]
    found = (misfit(it, part, f'{where}.{key}' if where else key) for it, part, key in parts)
    return next((it for it in found if it), None)


def _of_members(value: list, shape: list, where: str) -> str | None:
    if len(shape) > 1 and len(value) != len(shape):
        return where
    shapes = shape if len(shape) > 1 else shape * len(value)
    found = (misfit(it, part, f'{where}[{k}]') for k, (it, part) in enumerate(zip(value, shapes, strict=True)))
    return next((it for it in found if it), None)


def misfit_of_metrics(metrics: dict) -> str | None:
    """Where metrics.json is not what a test or a validation writes."""
    found = misfit(metrics, METRICS)
    if found:
        return found
    for name, evaluation in (metrics.get('evaluations') or {}).items():
        if evaluation and evaluation.get('scores'):  # others have figures of another kind, which no report shows
            found = misfit(evaluation, EVALUATION, f'evaluations.{name}') or _unlike_classes(evaluation, name)
            if found:
                return found
    bins = ((metrics.get('speed') or {}).get('bins')) or {}
    return next((f'speed.bins.{name}' for name in bins if not BINS.fullmatch(name)), None)


def _unlike_classes(evaluation: dict, name: str) -> str | None:
    """Boxes and masks have figures of the same classes, and their details too."""
    classes = [set(scores['classes']) for scores in evaluation['scores'].values()]
    if not evaluation['max_dets'] or not classes[0] or any(it != classes[0] for it in classes):
        return f'evaluations.{name}'
    kinds = (evaluation.get('details') or {}).get('kinds') or {}
    for kind, details in kinds.items():
        for part in ('sizes', 'errors', 'segmentation'):
            if details.get(part) and not classes[0] <= set(details[part]['classes']):
                return f'evaluations.{name}.details.kinds.{kind}.{part}'
    return None


def read(path: Path, fits: Callable[[dict], str | None], broken: list[str]) -> dict | None:
    """The content of a JSON file; None if there is none, or something else, which goes to ``broken``."""
    try:
        if not path.is_file():
            return None
        content = json.loads(path.read_text(encoding='utf-8'))
        wrong = fits(content) if isinstance(content, dict) else 'the whole'
    except (OSError, ValueError, RecursionError):
        wrong = 'the whole'
    if wrong:
        broken.append(str(path) + ('' if wrong == 'the whole' else f' ({wrong})'))
        return None
    return content


def read_examples(folder: Path, broken: list[str]) -> dict | None:
    """examples.json, without the entries whose pictures or masks can't be read, which go to ``broken``."""
    content = read(folder / 'examples.json', lambda it: misfit(it, EXAMPLES), broken)
    if content is None:
        return None
    there = []
    for k, image in enumerate(content['images']):
        path = folder / image['picture']
        if not path.is_file() or cv2.imread(str(path)) is None:
            broken.append(str(path))
        elif not _has_masks(image):
            broken.append(f'{folder / "examples.json"} (images[{k}], a mask)')
        else:
            there.append(image)
    return {**content, 'images': there}


def _has_masks(image: dict) -> bool:
    """Whether the masks are of the picture's size, and can be decoded."""
    masks = [it['segmentation'] for it in (*image['annotations'], *image['predictions']) if it.get('segmentation')]
    if any(mask['size'] != [image['height'], image['width']] for mask in masks):
        return False
    try:
        return not masks or len(rle.area(masks)) == len(masks)
    except (RuntimeError, ValueError):
        return False
