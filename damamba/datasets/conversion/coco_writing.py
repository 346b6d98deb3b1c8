"""Write COCO: ``annotations/instances_<split>.json``, and the pictures of each split in a folder of its name.

Objects are polygons, one for each part; those with holes, which COCO's polygons have none of, are compressed RLE, which
pycocotools and MMDetection take for objects that are no crowds too. Ids count from 1 on, in the order of the source.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from damamba.datasets.conversion.counting import Tally
from damamba.datasets.conversion.geometry import draw, runs_of
from damamba.datasets.conversion.labels import LabelledObject, LabelledPicture, Size, count_pieces, rle_of
from damamba.datasets.conversion.placing import place
from damamba.datasets.conversion.reading import Reading

DIGITS = 3  # of coordinates, in pixels


class CocoWriter:
    """Takes picture after picture, and writes the files of annotations at the end."""

    def __init__(self, folder: Path, reading: Reading, copy: bool) -> None:
        self.folder, self.reading, self.copy = folder, reading, copy
        self.documents: dict[str, dict] = {}

    def add(self, picture: LabelledPicture) -> None:
        """Put a picture into the folder of its split, and its objects among the annotations."""
        document = self.documents.setdefault(picture.split, dict(images=[], annotations=[]))
        width, height = picture.size
        number = len(document['images']) + 1
        image = dict(id=number, file_name=picture.name, width=width, height=height)
        document['images'].append({**picture.extra, **image})
        for it in picture.objects:
            ids = dict(id=len(document['annotations']) + 1, image_id=number)
            category = dict(category_id=self.reading.wanted.index(it.category) + 1)
            document['annotations'].append({**it.extra, **ids, **category, **annotate(it, picture.size)})
        place(picture.path, self.folder / picture.split / picture.name, self.copy)

    def finish(self) -> Tally:
        """Write the annotations; return what is in them, counted in the files."""
        categories = [dict(id=i, name=name, supercategory='') for i, name in enumerate(self.reading.wanted, 1)]
        (self.folder / 'annotations').mkdir()
        tally = Tally()
        for split, document in self.documents.items():
            path = self.folder / 'annotations' / f'instances_{split}.json'
            path.write_text(json.dumps(dict(**document, categories=categories)), encoding='utf-8')
            _count(json.loads(path.read_text(encoding='utf-8')), split, self.folder / split, tally)
        return tally


def annotate(it: LabelledObject, size: Size) -> dict:
    """What COCO has of an object but for ids; the area is that of the mask as pycocotools draws it.

    The box goes around the points of polygons, as COCO's own do, and around the pixels of run lengths.
    """
    if it.mask is None and not it.parts:
        box = [round(value, DIGITS) for value in it.box]
        return dict(bbox=box, area=round(box[2] * box[3], DIGITS), segmentation=[], iscrowd=int(it.is_crowd))
    if it.mask is not None or it.is_crowd or any(part.holes for part in it.parts):
        rle = dict(it.mask) if it.mask is not None else rle_of(draw(it.parts, size))
        box, area = coco_mask.toBbox(rle).tolist(), coco_mask.area(rle)
        return dict(bbox=box, area=float(area), segmentation=rle, iscrowd=int(it.is_crowd))
    outlines = [np.round(part.outline, DIGITS) for part in it.parts]
    points = np.concatenate(outlines)
    low, extent = points.min(0), np.ptp(points, 0)
    polygons = [outline.ravel().tolist() for outline in outlines]
    area = coco_mask.area(runs_of(outlines, size))
    box = np.round(np.concatenate((low, extent)), DIGITS).tolist()
    return dict(bbox=box, area=float(area), segmentation=polygons, iscrowd=int(it.is_crowd))


def _count(document: Mapping, split: str, folder: Path, tally: Tally) -> None:
    """Count what a file lists; pictures that do not lie there do not count."""
    names = {it['id']: it['name'] for it in document['categories']}
    there = [it for it in document['images'] if (folder / it['file_name']).is_file()]
    tally.pictures += len(there)
    tally.splits[split] += len(there)
    tally.empty += len({it['id'] for it in there} - {it['image_id'] for it in document['annotations']})
    for it in document['annotations']:
        tally.add_object(names[it['category_id']], bool(it['iscrowd']), _pieces(it['segmentation']))


def _pieces(segmentation: Sequence | Mapping) -> tuple[int, int]:
    if isinstance(segmentation, Mapping):
        return count_pieces(segmentation)
    return len(segmentation), 0
