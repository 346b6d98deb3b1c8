"""Write scenes as COCO has its pictures and annotations, the same bytes every time; know a set that is whole again.

Objects are polygons, with holes they are compressed RLE; crowds are run lengths.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from damamba.datasets.drawing.grounds import FINE
from damamba.datasets.drawing.heap import Visible
from damamba.datasets.drawing.scenes import DemoError, Scene
from damamba.datasets.inspection.records import AREAS, count_between
from damamba.datasets.run_lengths import run_lengths

MARKER = 'unfinished.json'  # while it is there, the set is not finished; it holds the arguments
DATE = '2025-01-01 00:00:00'  # fixed, so that the same arguments give the same bytes
MADE = dict(year=2025, contributor='damamba', date_created='2025/01/01')
LICENSE = dict(id=1, name='Apache License 2.0', url='https://www.apache.org/licenses/LICENSE-2.0')
SEED = ('the seed', 0, 2**63 - 1)
QUALITY = 93  # of the JPEGs
HIDDEN = 0.03  # from this share on a thing counts as partly hidden
MIN_PIECE = 2.0  # square pixels; smaller pieces of a polygon, and smaller holes, are left out
TOLERANCE = 0.2  # pixels by which a polygon may leave the outline
SLIVER = 2.0  # pixels by which a polygon may leave its decoded box; inspection allows no more

OnPicture = Callable[[int, int], object]


@dataclass(frozen=True)
class Summary:
    """What a data set holds. Crowds are no objects; sizes are COCO's, by area: up from 32 x 32 and 96 x 96 pixels."""

    pictures: int = 0
    objects: int = 0
    hidden: int = 0  # objects of which others cover at least 3 %
    small: int = 0
    medium: int = 0
    large: int = 0
    crowds: int = 0
    fresh: bool = True  # False: it was there already

    def __add__(self, other: 'Summary') -> 'Summary':
        counts = {name: value + getattr(other, name) for name, value in asdict(self).items()}
        return Summary(**counts | dict(fresh=self.fresh and other.fresh))


class Part(NamedTuple):
    """One file of annotations, and the pictures that it describes."""

    annotations: Path  # in the set's folder
    pictures: Path  # the folder in it; parts may share one
    count: int
    draw: Callable[[int], Scene]  # the picture of a number from 0 on
    names: Callable[[int], tuple[int, str]]  # its id and its file's name
    categories: list[dict]


def write_set(
    out: Path, parts: Sequence[Part], arguments: dict, description: str, on_picture: OnPicture
) -> list[Summary]:
    """Draw all parts into ``out``, or find that they are there; return what each holds.

    ``arguments`` tell one set from another. Until the set is whole its folder is marked as unfinished, and there are no
    annotations. Raises DemoError for a folder that holds something else, OSError where nothing can be written.
    """
    infos = [info_in(out / part.annotations) for part in parts]
    wanted = sum((Counter({out / part.pictures: part.count}) for part in parts), Counter())
    ended = not (out / MARKER).exists() and all(it.get('arguments') == arguments and 'summary' in it for it in infos)
    if ended and all(len([*folder.glob('*.jpg')]) == count for folder, count in wanted.items()):
        return [Summary(**info['summary'] | dict(fresh=False)) for info in infos]
    claim_folder(out, arguments, infos[0])
    for part in parts:
        for folder in (part.annotations.parent, part.pictures):
            (out / folder).mkdir(parents=True, exist_ok=True)
    (out / MARKER).write_text(json.dumps(dict(info=dict(arguments=arguments))), encoding='utf-8')
    total, done, documents = sum(part.count for part in parts), 0, []
    for part in parts:
        info = dict(description=description, url='', version=arguments['drawing'], **MADE, arguments=arguments)
        document = dict(info=info, licenses=[LICENSE], images=[], categories=part.categories, annotations=[])
        summary = Summary()
        for i in range(part.count):
            summary += add_picture(document, part, out, i)
            done += 1
            on_picture(done, total)
        info['summary'] = asdict(summary)
        documents.append(document)
    for part, document in zip(parts, documents, strict=True):
        (out / part.annotations).write_text(json.dumps(document), encoding='utf-8')
    (out / MARKER).unlink()
    return [Summary(**document['info']['summary']) for document in documents]


def info_in(path: Path) -> dict:
    """What a file of annotations, or the marker, says of its set; empty where there is none, or somebody else's."""
    try:
        info = json.loads(path.read_text(encoding='utf-8'))['info']
    except (ValueError, TypeError, KeyError, FileNotFoundError, NotADirectoryError):
        return {}
    return info if isinstance(info, dict) else {}


def claim_folder(out: Path, arguments: dict, first: dict) -> None:
    """Refuse a folder, unless it is empty, or a run of the same arguments was interrupted in it."""
    if out.exists() and not out.is_dir():
        raise DemoError(f'{out} is not a folder')
    begun = info_in(out / MARKER).get('arguments')
    if out.exists() and any(out.iterdir()) and begun != arguments:
        other = begun or first.get('arguments')
        if not isinstance(other, dict):
            raise DemoError(f'{out} is not empty and holds something else than this data set, so name another folder')
        text = ', '.join(f'{key} {value}' for key, value in other.items())
        raise DemoError(f'{out} holds another data set, or a part of one ({text}): remove it, or name another folder')


def add_picture(document: dict, part: Part, out: Path, i: int) -> Summary:
    """Draw and write a picture, append its annotations, return what it holds."""
    scene, (image_id, name) = part.draw(i), part.names(i)
    height, width = scene.picture.shape[:2]
    encoded = cv2.imencode('.jpg', scene.picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    (out / part.pictures / name).write_bytes(encoded.tobytes())
    image = dict(id=image_id, file_name=name, width=width, height=height, license=1, date_captured=DATE)
    document['images'].append(image)
    annotations = [annotate(thing) for thing in scene.things]
    for number, annotation in enumerate(annotations, len(document['annotations']) + 1):
        document['annotations'].append(dict(id=number, image_id=image_id, **annotation))
    return count_things(scene.things, annotations)


def count_things(things: Sequence[Visible], annotations: Sequence[dict]) -> Summary:
    crowds = sum(it.crowd for it in things)
    found = [(it, own) for it, own in zip(things, annotations, strict=True) if not it.holder and not it.crowd]
    sizes, hidden = count_between((own['area'] for _, own in found), AREAS), sum(it.hidden >= HIDDEN for it, _ in found)
    return Summary(pictures=1, objects=len(found), hidden=hidden, **sizes, crowds=crowds)


def annotate(visible: Visible) -> dict:
    """COCO's annotation of a thing, without ids of it and its picture.

    The box (x, y, width, height) and the area are those of the segmentation as written, decoded by pycocotools. A
    sliver of a polygon that is too thin to cover a pixel, and leaves that box, is cut off.
    """
    mask, fine = np.asfortranarray(visible.mask, np.uint8), visible.fine.astype(np.uint8)
    while True:
        pieces = [] if visible.crowd else trace_polygons(fine)
        rle = coco_mask.merge(coco_mask.frPyObjects(pieces, *mask.shape)) if pieces else coco_mask.encode(mask)
        low, extent = np.split(coco_mask.toBbox(rle), 2)
        points = np.concatenate(pieces or [low]).reshape(-1, 2)
        beyond = max((low - points.min(0)).max(), (points.max(0) - low - extent).max())
        if beyond <= SLIVER or not extent.all():
            break
        near = ((low - 1) * FINE).astype(int), ((low + extent + 1) * FINE).astype(int) - 1
        fine &= cv2.rectangle(np.zeros_like(fine), *near, 1, cv2.FILLED)  # the box may shrink with it
    counts = rle['counts'].decode('ascii')
    return dict(
        category_id=visible.category + 1,
        bbox=[*low.tolist(), *extent.tolist()],
        area=float(coco_mask.area(rle)),
        segmentation=pieces or dict(size=list(mask.shape), counts=run_lengths(counts) if visible.crowd else counts),
        iscrowd=int(visible.crowd),
    )


def trace_polygons(fine: np.ndarray) -> list[list[float]]:
    """The pieces of a fine mask, uint8, as flat lists x, y, x, y ... in pixels, or none if there is a hole in it.

    Pixels' corners are traced, not their middles: a pixel (x, y) reaches from x to x + 1. A corner belongs to the mask
    if two of the four quarter pixels around it do: that way slanted edges lose as much area as they gain.
    """
    left, top, width, height = cv2.boundingRect(fine)
    quarters = np.pad(fine[top : top + height, left : left + width].repeat(2, 0).repeat(2, 1), 1)
    corners = quarters[1:, 1:] + quarters[1:, :-1] + quarters[:-1, 1:] + quarters[:-1, :-1] >= 2
    loops, families = cv2.findContours(corners.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    pieces, scale = [], 2 * FINE
    for number, loop in enumerate(loops):
        if cv2.contourArea(loop) < MIN_PIECE * scale * scale:
            continue
        if families[0][number][3] >= 0:  # it lies in another one
            return []
        points = cv2.approxPolyDP(loop, TOLERANCE * scale, closed=True).reshape(-1, 2) / scale
        pieces.append(np.round(points + np.array([left, top]) / FINE, 2).reshape(-1).tolist())
    return [piece for piece in pieces if len(piece) >= 6]
