"""Faults of classes."""

from collections import Counter
from itertools import pairwise

from tests.evaluation.diagnosis.sabotage.variants import variant

GAPS = ('coco', 'gaps')  # sets whose ids of categories have gaps


@variant('ids-shifted', 'one lower', -1)
@variant('ids-shifted', 'one higher', 1)
@variant('ids-shifted', 'seven higher', 7, sets=['shapes', 'totes'])
@variant('ids-shifted', 'a thousand higher', 1000)
def shift(entries, document, rng, step):
    """Another count of the background, or another file's numbers; some or all then are of no category."""
    return [{**e, 'category_id': e['category_id'] + step} for e in entries]


@variant('classes-permuted', 'all', sets=['shapes', 'gaps'])
def permute(entries, document, rng):
    """Categories in another order: none keeps its place."""
    ids = [category['id'] for category in document['categories']]
    order = rng.permutation(len(ids)).tolist()
    after = {ids[a]: ids[b] for a, b in pairwise([*order, order[0]])}
    return [{**e, 'category_id': after[e['category_id']]} for e in entries]


@variant('classes-permuted', 'two', sets=['shapes', 'coco', 'gaps'])
@variant('classes-permuted', 'the only two', sets=['totes'], others=['labels-as-ids'])
def swap(entries, document, rng):
    """The two most frequent classes stand for each other."""
    (first, _), (second, _) = Counter(a['category_id'] for a in document['annotations']).most_common(2)
    other = {first: second, second: first}
    return [{**e, 'category_id': other.get(e['category_id'], e['category_id'])} for e in entries]


@variant('category-names', 'as they are', str)
@variant('category-names', 'upper case', str.upper, sets=['shapes', 'totes', 'coco'])
@variant('category-names', 'titles with blanks', lambda name: f' {name.title()} ', sets=['shapes', 'gaps'])
def name(entries, document, rng, spelling):
    """Names in place of ids."""
    names = {category['id']: spelling(category['name']) for category in document['categories']}
    return [{**e, 'category_id': names[e['category_id']]} for e in entries]


@variant('category-names', 'another key', 'category', sets=['shapes', 'coco'])
@variant('category-names', 'category_name', 'category_name', sets=['totes', 'gaps'])
def name_under(entries, document, rng, key):
    """Names under a key of their own, and no ids."""
    names = {category['id']: category['name'] for category in document['categories']}
    return [{k: v for k, v in e.items() if k != 'category_id'} | {key: names[e['category_id']]} for e in entries]


@variant('labels-as-ids', 'from 0, by id', 0, 'id', sets=GAPS)
@variant('labels-as-ids', 'from 1, by id', 1, 'id', sets=GAPS)
@variant('labels-as-ids', 'from 0, by name', 0, 'name', sets=GAPS)
@variant('labels-as-ids', 'from 1, by name', 1, 'name', sets=GAPS)
def label(entries, document, rng, first, key):
    """Places among the categories in place of their ids."""
    ordered = sorted(document['categories'], key=lambda category: category[key])
    labels = {category['id']: i for i, category in enumerate(ordered, first)}
    return [{**e, 'category_id': labels[e['category_id']]} for e in entries]


@variant('labels-as-ids', 'from 0, as the file lists them', 0, sets=['gaps'])
@variant('labels-as-ids', 'from 1, as the file lists them', 1, sets=['gaps'])
def label_as_listed(entries, document, rng, first):
    """The same in the order of the file, which is no other order here."""
    labels = {category['id']: i for i, category in enumerate(document['categories'], first)}
    return [{**e, 'category_id': labels[e['category_id']]} for e in entries]


@variant('one-class', 'the first', mend='bound')
def put_in_one(entries, document, rng):
    """As a detector of objects alone writes them."""
    first = document['categories'][0]['id']
    return [{**e, 'category_id': first} for e in entries]


@variant('one-class', 'unknown', mend='bound', sets=['shapes', 'coco'])
def put_in_none(entries, document, rng):
    """The same, with an id that is no category's."""
    return [{**e, 'category_id': 0} for e in entries]
