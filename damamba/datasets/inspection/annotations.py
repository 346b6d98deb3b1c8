"""The annotations of a file: does each belong to a picture and a category, and do box, area and segmentation agree?"""

from collections.abc import Iterable, Iterator

from damamba.datasets.inspection.defects import Findings, told
from damamba.datasets.inspection.outlines import Outline, OutlineError, read_outline
from damamba.datasets.inspection.records import ANNOTATION, Picture, records_of, usable
from damamba.datasets.inspection.tally import Tally

EDGE = 1.0  # pixels by which something may leave its picture
BOX_PIXELS, BOX_SHARE = 2.0, 0.02  # a side of a box may be off by that, or by that share of it
AREA_SHARE = 0.1  # an area may be off by that, and by half of what is around it
LEAST_SIDE = 1.0  # MMDetection leaves out what is thinner


class Checker:
    """Checks the annotations of one file, and counts what they are of."""

    def __init__(self, pictures: Iterable[Picture], categories: dict[int, str], findings: Findings) -> None:
        self.pictures = {picture.id: picture for picture in reversed(list(pictures)) if picture.id is not None}
        self.categories = categories
        self.findings = findings
        self.tally = Tally.of(pictures, categories.values())
        self.ids: set[int] = set()
        self.seen: dict[tuple, object] = {}

    def check(self, document) -> Tally:
        """Check every annotation of a document; return what there is in it."""
        for place, record in records_of(document, 'annotations', self.findings):
            found = _Annotation(place, record, self)
            found.check()
            self.tally.add(found.picture, self.categories.get(found.category), found.area, found.crowd)
        return self.tally


class _Annotation:
    """One annotation, and where its defects go."""

    def __init__(self, place: int, record: dict, checker: Checker) -> None:
        self.place, self.record, self.checker = place, record, checker
        self.number = record.get('id')
        image_id = record.get('image_id')
        self.picture = checker.pictures.get(image_id) if type(image_id) is int else None
        fields = usable(record, ANNOTATION, self.add)
        self.image_id, self.category = fields['image_id'], fields['category_id']
        self.box, self.area, self.crowd = fields['bbox'], fields['area'], bool(fields['iscrowd'])

    def add(self, kind: str, text: str) -> None:
        where = '' if type(self.number) is int else f'annotations[{self.place}]: '
        self.checker.findings.add(kind, where + text, self.picture, self.number)

    def check(self) -> None:
        self._check_ids()
        size = self.picture.size if self.picture else None
        if self.box:
            self._check_box(size)
        outline = self._outline(size) if size else None
        if outline and self.box:
            self._compare(outline)
        if outline and self.area is not None:
            self._check_area(outline, *size)
        self._check_twin(outline)

    def _check_ids(self) -> None:
        if type(self.number) is int:
            if self.number in self.checker.ids:
                self.add('duplicate_annotation_id', 'another annotation has this id')
            self.checker.ids.add(self.number)
        if self.image_id is not None and self.picture is None:
            self.add('unknown_image_id', f'no picture has the id {self.image_id}')
        if self.category is not None and self.category not in self.checker.categories:
            self.add('unknown_category_id', f'no category has the id {self.category}')

    def _check_box(self, size: tuple[int, int] | None) -> None:
        left, top, width, height = self.box
        if width < LEAST_SIDE or height < LEAST_SIDE:
            self.add('empty_box', f'the box is {width:g} x {height:g} pixels')
        elif size and _leaves((left, top, left + width, top + height), size):
            self.add('box_outside', f'the box is {_shown(self.box)}, the picture {size[0]} x {size[1]}')

    def _outline(self, size: tuple[int, int]) -> Outline | None:
        if self.record.get('segmentation') is None:
            self.add('no_segmentation', 'no segmentation')
            return None
        try:
            outline = read_outline(self.record['segmentation'], size[1], size[0])
        except OutlineError as error:
            self.add(error.kind, str(error))
            return None
        if _leaves(outline.box, size):
            self.add('polygon_outside', f'it reaches {_shown(outline.box)}, the picture is {size[0]} x {size[1]}')
        return outline

    def _compare(self, outline: Outline) -> None:
        left, top, width, height = self.box
        box = (left, top, left + width, top + height)
        spare = [max(BOX_PIXELS, BOX_SHARE * side) for side in (width, height)] * 2
        if any(abs(a - b) > most for a, b, most in zip(box, outline.box, spare, strict=True)):
            around = (*outline.box[:2], outline.box[2] - outline.box[0], outline.box[3] - outline.box[1])
            self.add('box_mismatch', f'the box is {_shown(self.box)}, the one around the segmentation {_shown(around)}')

    def _check_area(self, outline: Outline, width: int, height: int) -> None:
        left, top, right, bottom = outline.box
        around = right - left + bottom - top
        if all(abs(self.area - area) > AREA_SHARE * area + around / 2 for area in _areas(outline, width, height)):
            self.add('area_mismatch', f'area is {self.area:g}, that of the segmentation {outline.area:g}')

    def _check_twin(self, outline: Outline | None) -> None:
        """Equal are annotations with the same segmentation, or without one with the same box."""
        what = outline.digest if outline else tuple(self.box) if self.box else None
        if what is None or self.picture is None:
            return
        key = (self.image_id, self.category, what)
        if key in self.checker.seen:
            self.add('duplicate_annotation', f'it is the same as annotation {told(self.checker.seen[key])}')
        self.checker.seen.setdefault(key, self.number)


def _areas(outline: Outline, width: int, height: int) -> Iterator[float]:
    """By arithmetic and, since that takes longer, only if asked for once more, by its pixels."""
    yield outline.area
    yield outline.pixels(height, width)


def _leaves(box: tuple[float, ...], size: tuple[int, int]) -> bool:
    left, top, right, bottom = box
    return min(left, top) < -EDGE or right > size[0] + EDGE or bottom > size[1] + EDGE


def _shown(numbers: Iterable[float]) -> str:
    return ' '.join(f'{number:.6g}' for number in numbers)
