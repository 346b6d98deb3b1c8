"""Faults of the pictures' ids."""

from tests.evaluation.diagnosis.sabotage.variants import variant

UNSORTED = ('gaps',)  # sets whose orders of the file, of ids and of names differ


@variant('images-by-index', 'from 0, as the file lists them', 0, lambda image: 0, sets=['gaps', 'coco'])
@variant('images-by-index', 'from 1, as the file lists them', 1, lambda image: 0, sets=['gaps'])
@variant('images-by-index', 'from 0, by id', 0, lambda image: image['id'], sets=UNSORTED)
@variant('images-by-index', 'from 1, by id', 1, lambda image: image['id'], sets=UNSORTED)
@variant('images-by-index', 'from 0, by name', 0, lambda image: image['file_name'], sets=['gaps', 'totes'])
@variant('images-by-index', 'from 1, by name', 1, lambda image: image['file_name'], sets=['gaps', 'totes'])
def count(entries, document, rng, first, key):
    """Places in an order of pictures in place of their ids."""
    places = {image['id']: i for i, image in enumerate(sorted(document['images'], key=key), first)}
    return [{**e, 'image_id': places[e['image_id']]} for e in entries]


@variant('images-by-name', 'file names', '{name}')
@variant('images-by-name', 'with a folder', 'val2017/{name}', sets=['coco', 'gaps'])
@variant('images-by-name', 'whole paths', '/data/some set/images/{name}', sets=['totes', 'gaps'])
@variant('images-by-name', 'without suffix', '{stem}', sets=['shapes', 'totes', 'coco', 'gaps'])
@variant('images-by-name', 'ids as texts', '{id}')
def name(entries, document, rng, pattern):
    """Texts in place of ids."""
    names = {}
    for image in document['images']:
        stem = image['file_name'].rsplit('.', 1)[0]
        names[image['id']] = pattern.format(name=image['file_name'], stem=stem, id=image['id'])
    return [{**e, 'image_id': names[e['image_id']]} for e in entries]


@variant('images-by-name', 'numbers in names', sets=['gaps'])
def number(entries, document, rng):
    """The numbers in the names of files, of annotations whose ids are others."""
    numbers = {image['id']: int(image['file_name'].rsplit('.', 1)[0]) for image in document['images']}
    return [{**e, 'image_id': numbers[e['image_id']]} for e in entries]


@variant('images-shifted', 'one lower', -1, sets=['shapes', 'totes', 'coco'])
@variant('images-shifted', 'one higher', 1, sets=['shapes', 'totes', 'coco', 'gaps'])
@variant('images-shifted', 'far', 1_000_000)
def shift(entries, document, rng, step):
    return [{**e, 'image_id': e['image_id'] + step} for e in entries]


@variant('images-order', 'by name for by id', sets=['totes', 'gaps'])
def mix_orders(entries, document, rng):
    """Pictures were read in the order of their names, and got the ids in ascending order."""
    by_name = sorted(document['images'], key=lambda image: image['file_name'])
    ids = sorted(image['id'] for image in document['images'])
    after = {image['id']: number for image, number in zip(by_name, ids, strict=True)}
    return [{**e, 'image_id': after[e['image_id']]} for e in entries]
