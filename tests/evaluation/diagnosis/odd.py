"""Ground truths that look like a fault, and are none, with results that suit them.

Each maker takes annotations and a random generator, and returns other annotations with results.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tests.evaluation.diagnosis.detectors import FAIR, GOOD, GREAT, WEAK, detect

Maker = Callable[[dict, np.random.Generator], tuple[dict, list[dict]]]
ODD: dict[str, Maker] = {}


def odd(maker: Maker) -> Maker:
    """Add one to ODD, by its name."""
    ODD[maker.__name__.replace('_', '-')] = maker
    return maker


@odd
def empty_pictures(document, rng):
    """Two thirds of the pictures have no object, and nothing is found on them."""
    first = {image['id'] for image in document['images'][: len(document['images']) // 3]}
    part = {**document, 'annotations': [a for a in document['annotations'] if a['image_id'] in first]}
    found = [e for e in detect(part, replace(GOOD, false=0), rng) if e['image_id'] in first]
    return part, found


@odd
def objects_are_boxes(document, rng):
    """Masks of the annotations are rectangles, and so are those that are found."""
    boxed = [
        {**a, 'segmentation': [_corners(*a['bbox'])], 'area': a['bbox'][2] * a['bbox'][3]}
        for a in document['annotations']
    ]
    part = {**document, 'annotations': boxed}
    return part, [{**e, 'segmentation': [_corners(*e['bbox'])]} for e in detect(part, GOOD, rng)]


def _corners(x, y, w, h):
    return [x, y, x + w, y, x + w, y + h, x, y + h]


@odd
def one_category(document, rng):
    """There is one, so all detections are of it."""
    first = document['categories'][0]['id']
    same = [{**a, 'category_id': first} for a in document['annotations']]
    part = {**document, 'categories': document['categories'][:1], 'annotations': same}
    return part, detect(part, FAIR, rng)


@odd
def one_category_has_objects(document, rng):
    """Of all categories one is on these pictures, and the detector knows them all."""
    frequent = Counter(a['category_id'] for a in document['annotations']).most_common(1)[0][0]
    part = {**document, 'annotations': [a for a in document['annotations'] if a['category_id'] == frequent]}
    return part, detect(part, FAIR, rng)


@odd
def more_classes_than_annotated(document, rng):
    """The detector knows classes that are none of the annotations', and finds them too."""
    known = {category['id'] for category in document['categories'][:-1]}
    part = {
        **document,
        'categories': [category for category in document['categories'] if category['id'] in known],
        'annotations': [a for a in document['annotations'] if a['category_id'] in known],
    }
    return part, detect(document, FAIR, rng)


@odd
def more_pictures_than_annotated(document, rng):
    """Results of a whole set, of which a third is annotated."""
    ids = {image['id'] for image in document['images'][::3]}
    part = {
        **document,
        'images': [image for image in document['images'] if image['id'] in ids],
        'annotations': [a for a in document['annotations'] if a['image_id'] in ids],
    }
    return part, detect(document, FAIR, rng)


@odd
def nobody_is_ignored(document, rng):
    """Annotations say of each object that it counts, or say nothing of crowds."""
    said = [{k: v for k, v in a.items() if k != 'iscrowd'} | {'ignore': 0} for a in document['annotations']]
    return {**document, 'annotations': said}, detect(document, WEAK, rng)


@odd
def crowds_that_are_known(document, rng):
    """A third of the objects are crowds, and said to be."""
    said = [{**a, 'iscrowd': int(i % 3 == 0)} for i, a in enumerate(document['annotations'])]
    part = {**document, 'annotations': said}
    return part, detect(part, FAIR, rng)


@odd
def a_few_pictures(document, rng):
    """Four pictures in all."""
    ids = [image['id'] for image in document['images'][:4]]
    part = {
        **document,
        'images': document['images'][:4],
        'annotations': [a for a in document['annotations'] if a['image_id'] in ids],
    }
    return part, detect(part, FAIR, rng)


@odd
def great_on_half(document, rng):
    """One half of the pictures is like those that it was trained on, of the other it understands nothing."""
    ids = [image['id'] for image in document['images'][::2]]
    halves = [
        {**document, 'images': [image for image in document['images'] if (image['id'] in ids) == known]}
        for known in (True, False)
    ]
    for half in halves:
        own = {image['id'] for image in half['images']}
        half['annotations'] = [a for a in document['annotations'] if a['image_id'] in own]
    return document, detect(halves[0], GREAT, rng) + detect(halves[1], replace(WEAK, recall=0.1), rng)
