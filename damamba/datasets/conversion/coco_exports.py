"""What CVAT and Label Studio write into COCO's format, and others take for something else.

CVAT marks every mask that was painted as a crowd, keeps the turn of a box in ``attributes.rotation``, in degrees, and
older versions give a box its rectangle as a polygon. Label Studio names pictures by where its server has them, with
eight digits before the name, and lists a picture once for each annotator.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import cv2
import numpy as np

from damamba.datasets.conversion.labels import Box
from damamba.datasets.conversion.reading import Reading
from damamba.datasets.inspection.records import is_finite_number

UPLOADED = re.compile(r'[0-9a-f]{8}-(?=[^/\\]+$)')
PAINTED = 'painted masks, which CVAT marks as crowds, are read as objects, and --keep-crowds leaves them crowds: {:,}'
TURNED = 'turned boxes are read as the boxes around them, with --boxes-as-masks as turned rectangles: {:,}'
POSING = 'masks that are the rectangles of their boxes, and no more than boxes: {:,}'
NEAR = 0.01  # pixels by which rounding may move a corner


def picture_file(name: str, reading: Reading, *folders: Path) -> Path | None:
    """The file that a picture's name stands for, in these folders; None if there is none.

    A URL stands for its path, or for what it asks a server for as ``d``; what Label Studio put before the name when
    it was uploaded may be gone.
    """
    names = [name]
    if '://' in name or '?d=' in name:
        url = urlsplit(name)
        asked = parse_qs(url.query).get('d', [])
        names = [*asked, unquote(url.path)]
    for it in [*names, *(UPLOADED.sub('', it) for it in names if UPLOADED.search(it))]:
        if found := reading.below(it, *folders):
            return found
    return None


def mended(document: Mapping, reading: Reading) -> Mapping:
    """A document as it is meant, if CVAT wrote it; what is changed is noted."""
    if not is_of_cvat(document):
        return document
    counts: Counter = Counter()
    annotations = [_mended(it, reading, counts) for it in document['annotations']]
    reading.notes += [text.format(counts[text]) for text in (PAINTED, TURNED, POSING) if counts[text]]
    return {**document, 'annotations': annotations}


def _mended(entry: object, reading: Reading, counts: Counter) -> object:
    if not isinstance(entry, Mapping):
        return entry
    is_rectangle, corners = is_rectangle_of_box(entry), turned_box(entry)
    if entry.get('iscrowd') and isinstance(entry.get('segmentation'), Mapping) and not reading.options.keep_crowds:
        counts[PAINTED] += 1
        return {**entry, 'iscrowd': 0}
    if corners is not None and (is_rectangle or not entry.get('segmentation')):
        counts[TURNED] += 1
        polygons = [corners.ravel().tolist()] if reading.options.boxes_as_masks else []
        return {**entry, 'bbox': [*box_around(corners)], 'segmentation': polygons}
    counts[POSING] += is_rectangle
    return entry


def is_of_cvat(document: Mapping) -> bool:
    """Whether CVAT wrote a file: it has the licences, and each of its objects says whether it is occluded.

    What was converted from one keeps the second, and not the first.
    """
    if 'licenses' not in document:
        return False
    attributes = [it.get('attributes') for it in document['annotations'] if isinstance(it, Mapping)]
    return bool(attributes) and all(isinstance(it, Mapping) and 'occluded' in it for it in attributes)


def is_rectangle_of_box(entry: Mapping) -> bool:
    """Whether the only polygon of an annotation is the rectangle of its box."""
    box, polygons = entry.get('bbox'), entry.get('segmentation')
    if not _is_box(box) or not isinstance(polygons, list) or len(polygons) != 1 or not isinstance(polygons[0], list):
        return False
    if len(polygons[0]) not in (8, 10) or not all(map(is_finite_number, polygons[0])):  # closed, or not
        return False
    corners = {(round(x / NEAR), round(y / NEAR)) for x, y in np.array(polygons[0]).reshape(-1, 2).tolist()}
    x, y, width, height = box
    return corners == {(round(a / NEAR), round(b / NEAR)) for a in (x, x + width) for b in (y, y + height)}


def _is_box(box: object) -> bool:
    return isinstance(box, Sequence) and [*map(is_finite_number, box)] == [True] * 4


def turned_box(entry: Mapping) -> np.ndarray | None:
    """The corners of a box that is turned, [4, 2]; None of any other.

    It is turned about its middle, clockwise as seen.
    """
    attributes, box = entry.get('attributes'), entry.get('bbox')
    turn = attributes.get('rotation') if isinstance(attributes, Mapping) else None
    if not is_finite_number(turn) or not turn % 360 or not _is_box(box):
        return None
    x, y, width, height = map(float, box)
    return cv2.boxPoints(((x + width / 2, y + height / 2), (width, height), float(turn))).astype(np.float64)


def box_around(points: np.ndarray) -> Box:
    """The box around points [N, 2]: x, y, width, height."""
    low, extent = points.min(0), np.ptp(points, 0)
    return (*low.tolist(), *extent.tolist())
