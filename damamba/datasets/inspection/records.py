"""What an annotation file lists: are the fields of its entries right, do their ids fit together, how many are they?"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

from damamba.datasets.inspection.defects import Defect, Problem, short_repr
from damamba.datasets.inspection.segmentations import check_shape
from damamba.datasets.left_out import PICTURES, RECIPES, describe_left_out, why_left_out, why_picture_left_out

AREAS = {'small': -math.inf, 'medium': 32**2, 'large': 96**2}  # COCO's, in square pixels, each with where it begins
SHARES = {'below_1_300': -math.inf, 'below_3_percent': 1 / 300, 'above': 0.03}  # the same of a picture of 640 x 480
MAX_ID = 2**53  # the evaluation counts in floating point
MAX_SIDE = 2**20  # pixels; OpenCV reads no longer one


class Picture(NamedTuple):
    """An entry of ``images``; what is missing or of no use is None."""

    id: int | None
    file_name: str | None
    size: tuple[int, int] | None  # width, height in pixels


class Annotation(NamedTuple):
    """What is counted of an annotation; what is not known is None."""

    picture: Picture | None
    category: str | None
    area: float | None
    crowd: bool
    left_out: str | None = None  # why MMDetection learns nothing of it


def is_whole_number(value) -> bool:
    """Whether 64 bits hold it; what JSON calls true is none."""
    return type(value) is int and -(2**63) <= value < 2**63


def is_finite_number(value) -> bool:
    return is_whole_number(value) or (type(value) is float and math.isfinite(value))


ID = (lambda value: is_whole_number(value) and abs(value) <= MAX_ID, 'a whole number of 53 bits')
IMAGE_ID = (lambda value: ID[0](value) and value >= 0, 'a whole number of 53 bits from 0 on')  # for faster-coco-eval
SIDE = (lambda value: is_whole_number(value) and 1 <= value <= MAX_SIDE, 'a number of pixels that a picture can have')
NAME = (lambda value: isinstance(value, str) and bool(value.strip()), 'a name')
AREA = (is_finite_number, 'a finite number')
BOX = (lambda value: isinstance(value, list) and [*map(is_finite_number, value)] == [True] * 4, 'four finite numbers')
FLAG = (lambda value: type(value) in (int, bool) and value in (0, 1), '0 or 1')

FIELDS = {  # by list and name: what tells a right value, and what that is
    'images': {'id': IMAGE_ID, 'file_name': NAME, 'width': SIDE, 'height': SIDE},
    'categories': {'id': ID, 'name': NAME},
    'annotations': {'id': ID, 'image_id': ID, 'category_id': ID, 'bbox': BOX, 'area': AREA, 'iscrowd': FLAG},
}
EMPTY = {'images': 'no_pictures', 'annotations': 'no_objects', 'categories': 'no_categories'}


@dataclass
class AnnotationFile:
    """What is in one annotation file, and what is wrong with it."""

    name: str  # the path below the folder that is inspected
    split: str | None
    folder: Path  # of its pictures
    pictures: list[Picture] = field(default_factory=list)
    categories: dict[int, str] = field(default_factory=dict)  # names by id
    annotations: list[Annotation] = field(default_factory=list)
    defects: list[Defect] = field(default_factory=list)

    def report(self, kind: str, text: str, picture: Picture | None = None, annotation_id=None) -> None:
        """Write a defect down; ``annotation_id`` is whatever the file has."""
        if annotation_id is not None and type(annotation_id) not in (int, str):
            annotation_id = short_repr(annotation_id)
        image_id, file_name = (picture.id, picture.file_name) if picture else (None, None)
        self.defects.append(Defect(kind, self.name, text, file_name, image_id, annotation_id))

    def read(self, document) -> None:
        """Check all that can be checked without the pictures; the document itself is not kept."""
        if not isinstance(document, dict):
            self.report('wrong_type', f'the file holds {short_repr(document)}, not an object')
            return
        self._read_pictures(document)
        self._read_categories(document)
        self._read_annotations(document)
        if self.annotations and all(it.left_out for it in self.annotations):
            self.report('nothing_to_learn', self.left_out_notes()[0])

    @property
    def filter_cfg(self) -> dict:
        """How our recipes leave pictures out, unless the file is one to test on."""
        return RECIPES if self.split in ('train', None) else {}

    def left_out_notes(self) -> list[str]:
        """Sentences on the objects and the pictures that MMDetection leaves out; empty where there are none."""
        annotated = {it.picture.id for it in self.annotations if it.picture and it.category}
        known = [it for it in self.pictures if it.size]
        pictures = [why_picture_left_out(it.id in annotated, *it.size, self.filter_cfg) for it in known]
        return [describe_left_out([it.left_out for it in self.annotations]), describe_left_out(pictures, PICTURES)]

    def located(self) -> list[tuple[Picture, Path]]:
        """The pictures that have a name, each with where its file should lie."""
        return [(picture, self.folder / picture.file_name) for picture in self.pictures if picture.file_name]

    def _entries(self, document: dict, name: str) -> Iterator[tuple[str, dict, dict, list[Problem]]]:
        """The objects of a list: where each is; itself; its fields, None where one is wrong; what is wrong so far."""
        entries = document.get(name)
        if name not in document:
            self.report('missing_field', f'the file has no {name}')
        elif not isinstance(entries, list):
            self.report('wrong_type', f'{name} is {short_repr(entries)}, not a list')
        elif not entries:
            self.report(EMPTY[name], f'{name} is empty')
        entries = entries if isinstance(entries, list) else []
        named = [(f'{name}[{place}]', entry) for place, entry in enumerate(entries)]
        for where, entry in named:
            if not isinstance(entry, dict):
                self.report('wrong_type', f'{where} is {short_repr(entry)}, not an object')
        for where, entry in named:
            if isinstance(entry, dict):
                found, problems = dict.fromkeys(FIELDS[name]), []
                for key, (is_right, wanted) in FIELDS[name].items():
                    if key not in entry:
                        problems.append(('missing_field', f'no {key}'))
                    elif is_right(entry[key]):
                        found[key] = entry[key]
                    else:
                        problems.append(('wrong_type', f'{key} is {short_repr(entry[key])}, not {wanted}'))
                yield f'{where}: ', entry, found, problems

    def _read_pictures(self, document: dict) -> None:
        ids, names = set(), set()
        for where, _, fields, problems in self._entries(document, 'images'):
            size = (fields['width'], fields['height'])
            picture = Picture(fields['id'], fields['file_name'], size if all(size) else None)
            if picture.id in ids:
                problems.append(('duplicate_image_id', 'another picture has this id'))
            if picture.file_name in names:
                problems.append(('duplicate_file_name', 'another picture has this file name'))
            for kind, text in problems:
                self.report(kind, where + text, picture)
            ids |= {picture.id} - {None}
            names |= {picture.file_name} - {None}
            self.pictures.append(picture)

    def _read_categories(self, document: dict) -> None:
        names = {}
        for where, _, fields, problems in self._entries(document, 'categories'):
            number, name = fields['id'], fields['name']
            folded = name and name.casefold()
            if number in self.categories:
                text = f'{short_repr(self.categories[number])} has the id {number} too'
                problems.append(('duplicate_category_id', text))
            elif number is not None:
                self.categories[number] = name or f'(no name: {number})'
            if folded in names:
                problems.append(('duplicate_category_name', f'{short_repr(names[folded])} and {short_repr(name)}'))
            elif folded:
                names[folded] = name
            for kind, text in problems:
                self.report(kind, where + text)

    def _read_annotations(self, document: dict) -> None:
        by_id = {picture.id: picture for picture in reversed(self.pictures) if picture.id is not None}
        ids, firsts = set(), {}
        for where, entry, fields, problems in self._entries(document, 'annotations'):
            number, image_id, category_id = entry.get('id'), fields['image_id'], fields['category_id']
            picture, category = by_id.get(image_id), self.categories.get(category_id)
            if type(number) is int:
                where = ''  # the id says it
                if number in ids:
                    problems.append(('duplicate_annotation_id', 'another annotation has this id'))
                ids.add(number)
            if image_id is not None and not picture:
                problems.append(('unknown_image_id', f'no picture has the id {image_id}'))
            if category_id is not None and not category:
                problems.append(('unknown_category_id', f'no category has the id {category_id}'))
            size = picture and picture.size
            key = (image_id, category_id, check_shape(fields, entry.get('segmentation'), size, problems))
            if picture and key[-1] is not None and firsts.setdefault(key, entry) is not entry:
                text = f'it is the same as annotation {short_repr(firsts[key].get("id"))}'
                problems.append(('duplicate_annotation', text))
            for kind, text in problems:
                self.report(kind, where + text, picture, number)
            known = size and None not in (fields['bbox'], fields['area'])
            left_out = why_left_out(entry, *size, self.filter_cfg) if known else None
            self.annotations.append(Annotation(picture, category, fields['area'], bool(fields['iscrowd']), left_out))


def tally_files(files: Sequence[AnnotationFile]) -> dict:
    """What some files hold together, in plain values. Crowds are no objects; areas are as annotated."""
    objects = [it for file in files for it in file.annotations if not it.crowd]
    per_picture = []
    for file in files:
        counts = Counter(it.picture.id for it in file.annotations if it.picture and not it.crowd)
        per_picture += [counts.pop(picture.id, 0) for picture in file.pictures]  # of one id the first has them all
    each = per_picture or [0]
    sizes = Counter(picture.size for file in files for picture in file.pictures if picture.size)
    measured = [it for it in objects if it.area is not None]
    shares = [it.area / math.prod(it.picture.size) for it in measured if it.picture and it.picture.size]
    categories = Counter(dict.fromkeys((name for file in files for name in file.categories.values()), 0))
    categories.update(it.category for it in objects if it.category is not None)
    return dict(
        pictures=len(per_picture),
        without_objects=per_picture.count(0),
        objects=len(objects),
        crowds=sum(it.crowd for file in files for it in file.annotations),
        per_picture=dict(mean=sum(each) / len(each), median=median(each), max=max(each)),
        sizes=[dict(width=width, height=height, pictures=n) for (width, height), n in sizes.most_common()],
        areas=count_between((it.area for it in measured), AREAS),
        shares=count_between(shares, SHARES),
        categories=dict(categories),
    )


def count_between(values: Iterable[float], begins: Mapping[str, float]) -> dict[str, int]:
    """How many values there are from each beginning to the next, by their names."""
    counts = Counter([name for name, least in begins.items() if value >= least][-1] for value in values)
    return {name: counts[name] for name in begins}
