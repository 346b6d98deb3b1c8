"""What can be wrong with a data set, and the list that it is written into."""

import reprlib
from dataclasses import asdict, dataclass

KINDS = {  # what follows from each
    'not_json': 'the file can not be read as JSON',
    'missing_field': 'COCO has this field, and MMDetection or the evaluation reads it',
    'wrong_type': 'something else is there than COCO has in this place',
    'no_pictures': 'the list of pictures is empty: training stops',
    'no_objects': 'the list of annotations is empty: training stops',
    'no_categories': 'the list of categories is empty: training stops',
    'duplicate_image_id': 'only one picture of an id is seen, with the objects of all',
    'duplicate_annotation_id': 'MMDetection refuses the file',
    'duplicate_category_id': 'only one category of an id is seen',
    'duplicate_category_name': 'equal, but for case: the mapping by name needs different ones',
    'duplicate_file_name': 'one file is listed as several pictures',
    'duplicate_annotation': 'an object is annotated twice: one of the two can never be found',
    'unknown_image_id': 'the object belongs to no picture, and is lost',
    'unknown_category_id': 'the object belongs to no category, and is lost',
    'missing_picture': 'the file is not there: training stops when its turn comes',
    'undecodable_picture': 'the file is broken or cut off: training stops when its turn comes',
    'size_mismatch': 'the file has another size than the annotations say: they lie elsewhere in it',
    'exif_turned': 'MMDetection turns the picture as its EXIF orientation says; the annotations do not',
    'same_picture': 'the same bytes are listed under several names',
    'leak': 'the same picture is in two of training, validation and test: figures are too good',
    'no_segmentation': 'there is no mask to learn: training of masks stops',
    'broken_polygon': 'it encloses nothing, or is none',
    'broken_rle': 'the runs do not make a mask of the size of the picture',
    'polygon_outside': 'it leaves the picture by more than a pixel',
    'box_outside': 'it leaves the picture by more than a pixel',
    'empty_box': 'lower or narrower than a pixel: MMDetection leaves the object out',
    'box_mismatch': 'the box is not the one around the segmentation',
    'area_mismatch': 'the area is not that of the segmentation: figures by size are wrong',
}
Id = int | str | None


@dataclass(frozen=True, slots=True)
class Defect:
    """One thing that is wrong, of one of :data:`KINDS`, and where."""

    kind: str
    file: str  # the annotation file
    text: str
    file_name: str | None = None  # the picture
    image_id: Id = None
    annotation_id: Id = None

    @property
    def place(self) -> str:
        """Such as ``image 7 'a.jpg', annotation 12``."""
        image = '' if self.image_id is None else f'image {told(self.image_id)}'
        name = '' if self.file_name is None else told(self.file_name)
        annotation = '' if self.annotation_id is None else f'annotation {told(self.annotation_id)}'
        return ', '.join(part for part in (f'{image} {name}'.strip(), annotation) if part)

    def to_dict(self) -> dict:
        return asdict(self)


class Findings:
    """The defects of one annotation file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.defects: list[Defect] = []

    def add(self, kind: str, text: str, image=None, annotation_id=None) -> None:
        """Write a defect down; ``image`` has ``id`` and ``file_name``."""
        name = getattr(image, 'file_name', None)
        self.defects.append(Defect(kind, self.file, text, name, getattr(image, 'id', None), _plain(annotation_id)))


def _plain(value) -> Id:
    """An id that a file may have anything in, as one that can be written and compared."""
    return value if value is None or type(value) in (int, str) else told(value)


def told(value) -> str:
    """Any value in short, with nothing in it that a terminal would act on."""
    return _short.repr(value)


_short = reprlib.Repr()
_short.maxstring = _short.maxother = 100
_short.maxlong = 30
