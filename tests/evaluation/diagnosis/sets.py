"""Small ground truths: drawn shapes, drawn totes, a crowded one, real pictures of COCO where they are there."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from damamba.datasets.armbench_demo import IDS, SPLITS, file_name
from damamba.datasets.drawing.heap import Visible
from damamba.datasets.drawing.scenes import heap_up
from damamba.datasets.drawing.things import CLASSES
from damamba.datasets.drawing.totes import VIEWS, fill_tote
from damamba.datasets.writing import annotate
from tests.evaluation.helpers import made_up

COCO = Path(__file__).resolve().parents[4] / 'shared/data/coco_tiny/annotations'
MIX = 'mix-object-tote'


def shapes(pictures: int = 16, size: int = 160, seed: int = 0) -> dict:
    """The demo's scenes, square ones, without their pictures; ids of categories and pictures have no gaps."""
    rngs = [np.random.default_rng((seed, 1, i)) for i in range(pictures)]
    scenes = [heap_up(size, rng).see() for rng in rngs]
    names = [(IDS + 1 + i, f'{IDS + 1 + i:012d}.jpg', size, size) for i in range(pictures)]
    return _document(names, CLASSES, scenes)


def totes(pictures: int = 12, long_side: int = 180, seed: int = 0, split: str = 'val') -> dict:
    """The stand-in's totes, without their pictures; names of files are in another order than ids."""
    scenes, names, number = [], [], SPLITS.index(split)
    for i in range(pictures):
        plate, _, heap = fill_tote(VIEWS[MIX], long_side, np.random.default_rng((seed, 0, number, i)))
        tote = Visible(VIEWS[MIX].classes.index('Tote'), plate.spread(heap.top) > 0, holder=True)
        scenes.append([tote, *heap.see()])
        height, width = tote.mask.shape
        names.append((number * IDS + i + 1, file_name(MIX, split, i), height, width))
    return _document(names, VIEWS[MIX].classes, scenes)


def coco() -> dict:
    """14 real pictures, with 80 categories whose ids have gaps."""
    return json.loads((COCO / 'instances_val2017.json').read_text())


def crowded(pictures: int = 3, objects: int = 140, seed: int = 0) -> dict:
    """Pictures with more objects than COCO's evaluation takes detections."""
    rng = np.random.default_rng(seed)
    images = [dict(id=i, file_name=f'{i}.png', height=300, width=400) for i in range(1, pictures + 1)]
    document = dict(images=images, categories=[dict(id=1, name='grain')], annotations=[])
    for image in images:
        for place in rng.permutation(15 * 20)[:objects].tolist():
            x, y = (np.array([place % 20, place // 20]) * 20 + rng.uniform(0, 4, 2)).round(1).tolist()
            w, h = rng.uniform(8, 15, 2).round(1).tolist()
            number, corners = len(document['annotations']) + 1, [x, y, x + w, y, x + w, y + h * 0.6, x, y + h]
            own = dict(segmentation=[corners], bbox=[x, y, w, h], area=w * h * 0.8, iscrowd=0)
            document['annotations'].append(dict(id=number, image_id=image['id'], category_id=1, **own))
    return document


def gaps(pictures: int = 16, seed: int = 0) -> dict:
    """Blobs upon one another; ids of categories and pictures have gaps, and other orders than file and names have."""
    document, rng = made_up(pictures + 1, seed), np.random.default_rng(seed)
    cats = _new_ids(document['categories'], 1, 40, rng)
    images = _new_ids(document['images'], 100, 90_000, rng)
    names = rng.permutation(len(images)) * 7 + 3
    return dict(
        images=[
            {**it, 'id': images[it['id']], 'file_name': f'{name:06d}.jpg'}
            for it, name in zip(document['images'], names.tolist(), strict=True)
        ],
        categories=[{**it, 'id': cats[it['id']]} for it in document['categories']],
        annotations=[
            {**a, 'image_id': images[a['image_id']], 'category_id': cats[a['category_id']]}
            for a in document['annotations']
        ],
    )


def _new_ids(items: Sequence[dict], low: int, high: int, rng: np.random.Generator) -> dict[int, int]:
    ids = low + rng.permutation(high - low)[: len(items)]
    return {item['id']: int(number) for item, number in zip(items, ids, strict=True)}


def _document(names: Sequence[tuple], classes: Sequence[str], scenes: Sequence[list[Visible]]) -> dict:
    keys = ('id', 'file_name', 'height', 'width')
    images = [dict(zip(keys, name, strict=True)) for name in names]
    annotations = [
        dict(image_id=image['id'], **annotate(thing))
        for image, things in zip(images, scenes, strict=True)
        for thing in things
    ]
    return dict(
        images=images,
        categories=[dict(id=i, name=name) for i, name in enumerate(classes, 1)],
        annotations=[dict(id=i, **a) for i, a in enumerate(annotations, 1)],
    )
