"""First picks: an object upon another, totes full and empty, by hand; the ground truth of drawn totes."""

import numpy as np
import pytest
from pycocotools import mask as rle

from damamba.datasets.drawing.totes import VIEWS, fill_tote
from damamba.evaluation.analysis.details import analyse
from damamba.evaluation.analysis.picks import containers_of
from damamba.evaluation.coco_ap import ground_truth
from damamba.evaluation.results import EvaluationError
from tests.evaluation.cases import SIDE, rectangle
from tests.evaluation.helpers import truth_as_predictions

TOTE, OBJECT = 1, 2
UPPER, LOWER, ASIDE, EMPTY = (40, 40, 20, 20), (20, 20, 40, 40), (70, 70, 20, 20), (5, 80, 8, 8)


def cornered():
    """The lower one, without the corner that the upper one covers."""
    pixels = rle.decode([rectangle(LOWER, (SIDE, SIDE)), rectangle(UPPER, (SIDE, SIDE))])
    return encoded(pixels[..., 0] > pixels[..., 1])


def encoded(pixels):
    mask = rle.encode(np.asfortranarray(pixels, np.uint8))
    return {**mask, 'counts': mask['counts'].decode()}


def entry(shape, image=1, category=OBJECT, **more):
    """An object, or with a score a detection: a box or a mask."""
    mask = shape if isinstance(shape, dict) else rectangle(shape, (SIDE, SIDE))
    box, area = rle.toBbox(mask).tolist(), float(rle.area(mask))
    return dict(image_id=image, category_id=category, bbox=box, area=area, segmentation=mask, **more)


def totes(*things, images=1, names=('Tote', 'Object'), size=(SIDE, SIDE)):
    """A ground truth of pictures 1, 2, ..., with a tote in each where there is a class for it."""
    if 'Tote' in names:
        things += tuple(entry(rectangle((2, 2, 96, 96), size), image, TOTE) for image in range(1, images + 1))
    return ground_truth(
        {
            'images': [dict(id=i, height=size[0], width=size[1]) for i in range(1, images + 1)],
            'categories': [dict(id=i, name=name) for i, name in enumerate(names, 1)],
            'annotations': [{'iscrowd': 0, **thing, 'id': number} for number, thing in enumerate(things, 1)],
        }
    )


def picked(truth, found, **options):
    return analyse(truth, {'segm': found}, sorted(truth.cats), **options).kinds['segm'].picks.values


FULL = [entry(cornered()), entry(UPPER)]
WHOLE = entry((2, 2, 96, 96), category=TOTE, score=0.99)
CASES = {
    'both: the upper one first': ([entry(cornered(), score=0.9), entry(UPPER, score=0.85)], ('on top', 'on an object')),
    'the lower one alone': ([entry(cornered(), score=0.9), entry(UPPER, score=0.29)], ('on an object',)),
    'the lower one, far surer': ([entry(cornered(), score=0.9), entry(UPPER, score=0.5)], ('on an object',)),
    'beside': ([entry(EMPTY, score=0.9), entry(UPPER, score=0.8)], ('on none',)),
    'a low score': ([entry(UPPER, score=0.29)], ('called empty',)),
    'nothing but the tote': ([WHOLE], ('called empty',)),
    'an empty mask': ([entry((0, 0, 0, 0), score=0.9)], ('called empty',)),
}


@pytest.mark.parametrize('case', CASES)
def test_where_the_first_pick_falls(case):
    found, expected = CASES[case]
    values = picked(totes(*FULL), found)
    shares = {name: float(name in expected) for name in ('on top', 'on an object', 'on none', 'called empty')}
    empty = {'totes': 1, 'empty totes': 0, 'seen empty': -1.0}
    assert values == {**shares, **empty, 'pick score': float('on top' in expected)}


@pytest.mark.parametrize(
    ('found', 'seen'),
    [([], 1), ([WHOLE], 1), ([entry(UPPER, score=0.29)], 1), ([entry(UPPER, score=0.3)], 0)],
    ids=['nothing', 'the tote', 'a low score', 'an object'],
)
def test_an_empty_tote_is_seen_empty_or_is_not(found, seen):
    values = picked(totes(), found)
    assert values['seen empty'] == values['pick score'] == seen and (values['totes'], values['empty totes']) == (0, 1)
    assert {values[name] for name in ('on top', 'on an object', 'on none', 'called empty')} == {-1.0}


def test_pictures_are_added_up():
    things = [entry(it['segmentation'], image) for image in (1, 2, 3, 4) for it in FULL]
    shapes = {1: UPPER, 2: cornered(), 3: EMPTY, 6: UPPER}  # nothing in 4; 5 and 6 are empty
    values = picked(totes(*things, images=6), [entry(it, image, score=0.9) for image, it in shapes.items()])
    assert values == {
        'totes': 4, 'on top': 0.25, 'on an object': 0.5, 'on none': 0.25, 'called empty': 0.25,
        'empty totes': 2, 'seen empty': 0.5, 'pick score': 2 / 6,
    }  # fmt: skip


def test_crowds_do_not_count():
    crowd = entry(ASIDE, iscrowd=1)
    inside, upper = entry(ASIDE, score=0.9), entry(UPPER, score=0.8)
    assert picked(totes(*FULL, crowd), [inside, upper])['totes'] == 0  # which object it is nobody knows
    assert picked(totes(*FULL, crowd), [upper])['on top'] == 1
    assert [picked(totes(crowd), found)['empty totes'] for found in ([], [inside])] == [0, 0]


def test_the_least_score_is_an_argument():
    assert picked(totes(*FULL), [entry(UPPER, score=0.29)], least_score=0.2)['on top'] == 1


@pytest.mark.parametrize('place', range(3))
def test_the_ground_truth_of_drawn_totes_scores_one(place):
    """In the last of the three sets Object is the only class; one tote more is empty."""
    things, view = [], [*VIEWS.values()][place]
    for image in range(1, 13):
        _, _, heap = fill_tote(view, 200, np.random.default_rng((place, image)))
        things += [entry(encoded(it.mask), image, 1 + view.classes.index('Object')) for it in heap.see()]
    truth = totes(*things, images=13, names=view.classes, size=things[0]['segmentation']['size'])
    values = picked(truth, truth_as_predictions(truth))
    assert values['pick score'] == values['on top'] == values['seen empty'] == 1.0 and values['totes'] == 12
    shifted = [{**it, 'image_id': it['image_id'] % 12 + 1} for it in truth_as_predictions(truth)]
    assert picked(truth, shifted)['pick score'] < 0.5


def test_picks_are_of_pictures_of_totes_and_of_masks():
    assert containers_of(['Object', ' TOTE']) == containers_of(['object']) == ('tote',)
    assert containers_of(['person', 'Object']) is None and containers_of([]) is None
    assert containers_of(['person'], ['Bin']) == containers_of([], 'Bin') == ('Bin',)
    assert containers_of(['person'], []) == ()
    assert containers_of(['person', 'bin'], ['Bin']) == ('Bin',)
    with pytest.raises(EvaluationError, match='containers: there is no class Bni, but person, bin'):
        containers_of(['person', 'bin'], ['Bni'])
    bins = totes(*FULL, names=('bin', 'cup'))
    found = {kind: [entry(UPPER, score=0.9), {**WHOLE, 'score': 1.0}] for kind in ('bbox', 'segm')}
    assert {it.picks for it in analyse(bins, found, [1, 2]).kinds.values()} == {None}
    kinds = analyse(bins, found, [1, 2], containers=['BIN']).kinds
    assert kinds['bbox'].picks is None and kinds['segm'].picks.values['on top'] == 1
    assert analyse(totes(*FULL), found, [OBJECT]).kinds['segm'].picks.values['on top'] == 1  # totes are left out


def test_the_details_have_a_line_for_it():
    details = analyse(totes(*FULL), {'segm': [entry(UPPER, score=0.9)]}, [TOTE, OBJECT])
    assert details.to_dict()['kinds']['segm']['picks']['values']['on top'] == 1
    title, _, head, _, line = details.table()[details.table().index('First picks') :].splitlines()[:5]
    assert title == 'First picks by masks' and head.split('   ')[0].strip() == 'pick score'
    assert line.split() == ['1.000', '1', '1.000', '1.000', '0.000', '0.000', '0', '-']
