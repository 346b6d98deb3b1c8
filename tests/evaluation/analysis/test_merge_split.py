"""Over- and under-segmentation: rectangles whose shares can be counted."""

import pytest

from damamba.evaluation.analysis.merge_split import count_segments
from damamba.evaluation.analysis.overlaps import read_pictures
from damamba.evaluation.coco_ap import ground_truth
from tests.evaluation.cases import CUP, KEY, NAMES, SIDE, guess, pictures, scene, thing
from tests.evaluation.helpers import made_up, truth_as_predictions

LEFT, RIGHT, PAIR = (0, 0, 20, 20), (20, 0, 20, 20), (0, 0, 40, 20)


def segmented(truth, found, least=0.3):
    return count_segments(pictures(truth, found), NAMES, least)


def test_a_mask_that_covers_two_objects_is_under_segmentation():
    truth = scene(thing(CUP, LEFT), thing(CUP, RIGHT), thing(CUP, (60, 60, 10, 10)))
    found = segmented(truth, [guess(CUP, PAIR), guess(CUP, (60, 60, 10, 10))])
    assert found.classes['cup'] == {
        'objects': 3, 'masks': 2, 'under': 1, 'over': 0, 'under rate': 0.5, 'over rate': 0.0,
    }  # fmt: skip
    assert found.values == found.classes['cup']


@pytest.mark.parametrize(('width', 'under'), [(30, 1), (29, 0)])
def test_an_object_is_covered_if_half_of_it_is(width, under):
    truth = scene(thing(CUP, LEFT), thing(CUP, RIGHT))
    assert segmented(truth, [guess(CUP, (0, 0, width, 20))]).classes['cup']['under'] == under


def test_an_object_with_two_masks_is_over_segmentation():
    found = segmented(scene(thing(CUP, PAIR)), [guess(CUP, LEFT), guess(CUP, RIGHT)])
    assert found.classes['cup'] == {
        'objects': 1, 'masks': 2, 'under': 0, 'over': 1, 'under rate': 0.0, 'over rate': 1.0,
    }  # fmt: skip


@pytest.mark.parametrize(('width', 'over'), [(40, 1), (41, 0)])
def test_a_mask_lies_on_an_object_if_half_of_the_mask_does(width, over):
    found = [guess(CUP, LEFT), guess(CUP, (20, 0, width, 20))]
    assert segmented(scene(thing(CUP, PAIR)), found).classes['cup']['over'] == over


@pytest.mark.parametrize(
    ('box', 'over'), [(LEFT, 0), ((0, 0, 20, 11), 0), ((0, 0, 20, 10), 1)], ids=['the same', 'most of it', 'half']
)
def test_duplicates_are_no_over_segmentation(box, over):
    """Masks are duplicates if they overlap by more than 0.5; there is one object, and the whole of it is found."""
    found = [guess(CUP, LEFT, 0.9), guess(CUP, box, 0.8)]
    assert segmented(scene(thing(CUP, LEFT)), found).classes['cup']['over'] == over


def test_a_part_and_its_duplicate_beside_another_part_are_over_segmentation_once():
    found = [guess(CUP, LEFT, 0.9), guess(CUP, LEFT, 0.8), guess(CUP, RIGHT, 0.7)]
    assert segmented(scene(thing(CUP, PAIR)), found).classes['cup']['over'] == 1


def test_a_mask_of_another_class_may_cover_objects_and_lie_on_them():
    """As a tote does."""
    truth = scene(thing(CUP, LEFT), thing(CUP, RIGHT), thing(KEY, PAIR))
    found = segmented(truth, [guess(CUP, LEFT), guess(CUP, RIGHT), guess(KEY, PAIR)])
    assert [found.classes[name][what] for name in NAMES for what in ('under', 'over')] == [0, 0, 0, 0]
    assert found.values['objects'] == found.values['masks'] == 3


def test_crowds_are_neither_covered_nor_divided():
    truth = scene(thing(CUP, LEFT, crowd=True), thing(CUP, RIGHT))
    found = segmented(truth, [guess(CUP, PAIR), guess(CUP, (0, 0, 10, 20)), guess(CUP, (10, 0, 10, 20))])
    assert found.classes['cup']['objects'] == 1 and found.values['under'] == found.values['over'] == 0


def test_masks_below_the_least_score_do_not_count():
    truth, found = scene(thing(CUP, LEFT), thing(CUP, RIGHT)), [guess(CUP, PAIR, 0.3)]
    assert segmented(truth, found).values['under'] == 1
    assert segmented(truth, found, least=0.4).values == {
        'objects': 2, 'masks': 0, 'under': 0, 'over': 0, 'under rate': -1.0, 'over rate': 0.0,
    }  # fmt: skip


def test_pictures_are_added_up_and_empty_masks_are_nowhere():
    truth = scene(*(thing(CUP, box, image) for image in (1, 2) for box in (LEFT, RIGHT)), images=3)
    found = [guess(CUP, PAIR, image=1), guess(CUP, PAIR, image=2), guess(KEY, (0, 0, 0, 0), image=3)]
    counted = segmented(truth, found)
    assert counted.classes['cup']['under'] == 2
    assert counted.classes['key'] == {
        'objects': 0, 'masks': 1, 'under': 0, 'over': 0, 'under rate': 0.0, 'over rate': -1.0,
    }  # fmt: skip


@pytest.mark.filterwarnings('error')
def test_empty_masks_and_masks_of_another_size_cover_nothing():
    truth = scene(thing(CUP, LEFT), thing(KEY, (0, 0, 0, 0)))
    found = [guess(CUP, (0, 0, 0, 0)), guess(KEY, (0, 0, 0, 0)), guess(CUP, LEFT, side=SIDE + 1)]
    assert segmented(truth, found).values == {
        'objects': 2, 'masks': 3, 'under': 0, 'over': 0, 'under rate': 0.0, 'over rate': 0.0,
    }  # fmt: skip


def test_objects_apart_as_predictions_are_neither():
    """In the made-up pictures objects may hide each other wholly, so that each counts alone here."""
    truth = made_up()
    for a in truth['annotations']:
        a['category_id'] = (2, 5, 9)[a['id'] % 3]
    alone = {a['image_id']: a for a in truth['annotations'] if not a['iscrowd']}
    truth = ground_truth({**truth, 'annotations': list(alone.values())})
    found = count_segments(read_pictures(truth, truth_as_predictions(truth), 'segm', [2, 5, 9]), ['a', 'b', 'c'], 0.3)
    assert found.values['masks'] == found.values['objects'] == len(alone) > 5
    assert found.values['under'] == found.values['over'] == 0


def test_the_table_has_a_line_for_each_class_and_one_for_all():
    truth = scene(thing(CUP, LEFT), thing(CUP, RIGHT))
    text = segmented(truth, [guess(CUP, PAIR)]).table('mask')
    assert text.splitlines()[0] == 'Mask under- and over-segmentation'
    table = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    assert table['cup'] == table['all'] == ['2', '1', '1', '0', '1.000', '0.000']
    assert table['key'] == ['0', '0', '0', '0', '-', '-']
