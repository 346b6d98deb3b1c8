"""Figures of metrics.json by class, and the examples beside it that can be drawn."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from faster_coco_eval.core import mask as rle

from damamba.run_record import read_json

OVERLAPS = ('0.50', '0.75')  # of curves


def focused(of: Mapping, focus: str | None) -> Mapping[str, float]:
    """The figures of a class, or those of all, of ``{'values': ..., 'classes': ...}``."""
    return of['values'] if focus is None else of['classes'][focus]


def mean_curves(of: Mapping[str, Mapping], focus: str | None = None) -> dict[str, np.ndarray]:
    """Precision at the recalls from 0 to 1, by overlap: of a class, or the mean over all that have it; else empty."""
    curves = [it for name, it in of.items() if it and focus in (None, name)]
    return {overlap: np.mean([it[overlap] for it in curves] or np.zeros((1, 0)), axis=0) for overlap in OVERLAPS}


def read_examples(folder: Path, metrics: dict, broken: list[str]) -> dict | None:
    """examples.json and its folder, without entries whose pictures or masks can't be read, which go to ``broken``.

    None if there is no such file, or if it is of other annotations than the figures of the test in ``metrics``.
    """
    path, there = folder / 'examples.json', []
    content = read_json(path, broken)
    if content is None:
        return None
    for place, image in enumerate(content['images']):
        picture = folder / image['picture']
        if not picture.is_file() or cv2.imread(str(picture)) is None:
            broken.append(str(picture))
        elif not _has_masks(image):
            broken.append(f'{path} (images[{place}], a mask)')
        else:
            there.append(image)
    digests = {(it.get('dataset') or {}).get('sha256') for it in (content, metrics)} - {None}
    return {**content, 'images': there, 'folder': folder} if len(digests) < 2 else None


def _has_masks(image: dict) -> bool:
    """Whether the masks are of the picture's size, and can be decoded."""
    masks = [it['segmentation'] for it in (*image['annotations'], *image['predictions']) if it.get('segmentation')]
    try:
        return all(it['size'] == [image['height'], image['width']] for it in masks) and len(rle.area(masks)) == len(
            masks
        )
    except (RuntimeError, ValueError):
        return False
