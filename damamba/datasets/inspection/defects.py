"""What can be wrong with a data set, and how it is said."""

import reprlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

KINDS = {  # what follows from each
    'not_json': 'the file can not be read as JSON',
    'missing_field': 'COCO has this field, and MMDetection or the evaluation reads it',
    'wrong_type': 'something else is there than COCO has in this place',
    'no_pictures': 'the list of pictures is empty: training stops',
    'no_objects': 'the list of annotations is empty: training stops',
    'nothing_to_learn': 'MMDetection leaves out all objects of the file: training stops',
    'no_categories': 'the list of categories is empty: training stops',
    'duplicate_image_id': 'only one picture of an id is seen, with the objects of all',
    'duplicate_annotation_id': 'MMDetection refuses the file',
    'duplicate_category_id': 'only one category of an id is seen',
    'duplicate_category_name': 'equal, but for case: the mapping by name needs different ones',
    'duplicate_file_name': 'one file is listed as several pictures',
    'duplicate_annotation': 'an object is annotated twice: one of the two can never be found',
    'unknown_image_id': 'the object belongs to no picture, and is lost',
    'unknown_category_id': 'the object belongs to no category, and is lost',
    'missing_picture': 'the file is not there: a training leaves it out',
    'outside_picture': "it leads out of the data set's folder and is not read: a training leaves it out",
    'undecodable_picture': 'the file is broken or cut off: a training leaves it out',
    'deep_picture': 'MMDetection takes the upper 8 bits of 16: the picture is fed nearly black',
    'size_mismatch': 'the file has another size than the annotations say: a training leaves it out',
    'exif_turned': 'MMDetection turns the picture as its EXIF orientation says; the annotations do not',
    'same_picture': 'the same bytes are listed under several names',
    'leak': 'the same picture is in two of training, validation and test: figures are too good',
    'no_segmentation': 'there is no mask: a training of masks leaves the object out',
    'broken_polygon': 'it encloses nothing, or is none: a training of masks leaves the object out',
    'broken_rle': 'the runs do not make a mask of the size of the picture: a training of masks leaves the object out',
    'polygon_outside': 'it leaves the picture by more than a pixel',
    'box_outside': 'it leaves the picture by more than a pixel',
    'empty_box': 'lower or narrower than a pixel: MMDetection leaves the object out',
    'box_mismatch': 'the box is not the one around the segmentation',
    'area_mismatch': 'the area is not that of the segmentation: figures by size are wrong',
}
Problem = tuple[str, str]  # of one of these kinds, in a sentence
MOST = 5  # names that are said


class Defect(NamedTuple):
    """One thing that is wrong, of one of :data:`KINDS`, and where."""

    kind: str
    file: str  # the annotation file
    text: str
    file_name: str | None = None  # the picture
    image_id: int | None = None
    annotation_id: int | str | None = None

    def __str__(self) -> str:
        """Such as ``train.json, image 7 'a.jpg', annotation 12: no area``."""
        image = [] if self.image_id is None else [f'image {self.image_id}']
        image += [] if self.file_name is None else [short_repr(self.file_name)]
        annotation = '' if self.annotation_id is None else f'annotation {short_repr(self.annotation_id)}'
        return f'{", ".join(filter(None, (self.file, " ".join(image), annotation)))}: {self.text}'


SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxother = 100
SHORT.maxlong = 30
short_repr = SHORT.repr  # any value in short, with nothing in it that a terminal would act on


def list_names(names: Sequence[str], shown: Callable[[str], str] = lambda name: short_repr(name).strip('\'"')) -> str:
    """A few names, and how many more there are."""
    more = f' and {len(names) - MOST:,} more' if len(names) > MOST else ''
    return ', '.join(map(shown, names[:MOST])) + more


def count_pictures(names: Sequence[str]) -> str:
    return f'{len(names):,} picture{"" if len(names) == 1 else "s"}'
