"""Our numbers against pycocotools', against cases by hand, and against the ground truth itself."""

import copy
import json

import numpy as np
import pytest

from damamba.evaluation.analysis.details import analyse
from damamba.evaluation.annotations import require_usable
from damamba.evaluation.coco_ap import EvaluationError, category_ids, check, ground_truth, recall, score
from damamba.evaluation.known_faults import SABOTAGE
from tests import armbench
from tests.detection import ROOT
from tests.evaluation.helpers import guesses, judged, made_up, truth_as_predictions

NAMES = ['mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l', 'AR@1', 'AR@10', 'AR@100']
NAMES += ['AR_s@100', 'AR_m@100', 'AR_l@100']
KINDS = ('bbox', 'segm')


def scored(truth, predictions, **options):
    return score(ground_truth(copy.deepcopy(truth)), dict.fromkeys(KINDS, predictions), **options)


def perfect(truth):
    return truth_as_predictions(ground_truth(copy.deepcopy(truth)))


def assert_parity(truth, predictions):
    """All twelve numbers, and each class's, are pycocotools' to 1e-6."""
    evaluation = scored(truth, predictions)
    names = {category['id']: category['name'] for category in truth['categories']}
    for kind in KINDS:
        judge = judged(truth, predictions, kind)
        assert list(evaluation.scores[kind].values) == NAMES
        np.testing.assert_allclose(list(evaluation.scores[kind].values.values()), judge.stats, rtol=0, atol=1e-6)
        for k, cat_id in enumerate(judge.params.catIds):
            found = evaluation.scores[kind].classes[names[cat_id]]
            assert list(found) == NAMES
            assert list(found.values()) == pytest.approx(class_numbers(judge.eval, k), abs=1e-6)
    return evaluation


def class_numbers(arrays, k):
    """The twelve of one class, from pycocotools' arrays: precision [T, R, K, A, M] and recall [T, K, A, M]."""
    precision, recalls = arrays['precision'][:, :, k], arrays['recall'][:, k]
    parts = [precision[..., 0, -1], precision[0, :, 0, -1], precision[5, :, 0, -1]]
    parts += [precision[..., a, -1] for a in (1, 2, 3)]
    parts += [recalls[:, 0, m] for m in (0, 1, 2)] + [recalls[:, a, -1] for a in (1, 2, 3)]
    return [part[part > -1].mean() if (part > -1).any() else -1 for part in parts]


@pytest.mark.parametrize('seed', range(4))
def test_made_up_annotations_with_crowds_score_as_in_pycocotools(seed):
    truth = made_up(seed=seed)
    assert any(a['iscrowd'] for a in truth['annotations'])
    evaluation = assert_parity(truth, guesses(truth, seed))
    assert 0.05 < evaluation.scores['bbox'].values['mAP'] < 0.95
    assert 0.05 < evaluation.scores['segm'].values['mAP'] < 0.95


def test_more_than_100_detections_of_an_image_score_as_in_pycocotools():
    truth = made_up()
    assert_parity(truth, guesses(truth, many=150))


def test_real_annotations_with_crowds_score_as_in_pycocotools():
    truth = json.loads((ROOT / 'tests/data/coco_annotations.json').read_text())
    assert any(a['iscrowd'] for a in truth['annotations'])
    evaluation = assert_parity(truth, guesses(truth))
    assert 0.05 < evaluation.scores['segm'].values['mAP'] < 0.95


def test_sizes_without_any_object_are_undefined_as_in_pycocotools():
    truth = made_up()
    truth['annotations'] = [a for a in truth['annotations'] if a['area'] > 32**2]
    evaluation = assert_parity(truth, guesses(truth))
    assert evaluation.scores['bbox'].values['mAP_s'] == evaluation.scores['bbox'].values['AR_s@100'] == -1


@pytest.mark.parametrize('kind', KINDS)
def test_no_detections_at_all_are_zero(kind):
    values = scored(made_up(), []).scores[kind].values
    assert list(values) == NAMES and set(values.values()) == {0.0}


def test_the_ground_truth_is_perfect():
    truth = made_up()
    evaluation = scored(truth, perfect(truth))
    for kind in KINDS:
        values = evaluation.scores[kind].values
        whole = {name: value for name, value in values.items() if name not in ('AR@1', 'AR@10')}
        assert whole == pytest.approx(dict.fromkeys(whole, 1.0), abs=1e-12)
        assert values['AR@1'] < 1  # more than one object of a class in an image


def test_half_the_objects_found_are_half_the_recall():
    """By hand: two cups, one found exactly, and a later guess far away."""
    truth = {
        'images': [{'id': 1, 'height': 100, 'width': 100}],
        'categories': [{'id': 1, 'name': 'cup'}],
        'annotations': [
            {'id': i, 'image_id': 1, 'category_id': 1, 'bbox': box, 'area': 400, 'iscrowd': 0, 'segmentation': []}
            for i, box in ((1, [0, 0, 20, 20]), (2, [50, 50, 20, 20]))
        ],
    }
    entry = {'image_id': 1, 'category_id': 1, 'bbox': [0, 0, 20, 20], 'score': 0.9}
    guess = {**entry, 'bbox': [30, 0, 10, 10], 'score': 0.8}
    values = score(ground_truth(truth), {'bbox': [entry, guess]}).scores['bbox'].values
    assert values['AR@1'] == values['AR@100'] == 0.5
    assert values['mAP'] == pytest.approx(51 / 101)  # precision 1 at the recalls 0, 0.01, ... 0.5


def test_annotations_of_no_picture_and_of_no_category_change_nothing():
    """As after a split of which only the pictures were divided."""
    truth, found = made_up(), guesses(made_up())
    alone = scored(truth, found)
    first = truth['annotations'][0]
    truth['annotations'][:0] = [{**first, 'image_id': 999}, {**first, 'category_id': 999}, {**first, 'image_id': -1}]
    evaluation = assert_parity(truth, found)
    assert evaluation == alone and evaluation.scores['segm'].intervals
    for kind in KINDS:
        np.testing.assert_array_equal(evaluation.draws[kind], alone.draws[kind])
    details = [analyse(ground_truth(it), dict.fromkeys(KINDS, found), [2, 5, 9]).to_dict() for it in (made_up(), truth)]
    assert details[0] == details[1]


def test_classes_that_do_not_count_are_left_out():
    truth = made_up()
    alone = {**truth, 'annotations': [a for a in truth['annotations'] if a['category_id'] == 5]}
    expected = judged(alone, [p for p in guesses(truth) if p['category_id'] == 5], 'bbox').stats
    evaluation = scored(truth, guesses(truth), cat_ids=[5])
    assert list(evaluation.scores['bbox'].classes) == ['key']
    np.testing.assert_allclose(list(evaluation.scores['bbox'].values.values()), expected, rtol=0, atol=1e-6)
    assert evaluation.objects == sum(not a['iscrowd'] for a in alone['annotations'])


@pytest.mark.parametrize('order', [[9, 2, 5], [5, 9], [2]])
def test_classes_are_listed_in_the_order_given_each_with_its_own_numbers(order):
    """faster-coco-eval sorts ids; ARMBench's objects come before their totes, whose id is lower."""
    truth = made_up()
    by_id = scored(truth, guesses(truth))
    found = scored(truth, guesses(truth), cat_ids=order)
    names = {category['id']: category['name'] for category in truth['categories']}
    for kind in KINDS:
        classes = found.scores[kind].classes
        assert list(classes) == [names[cat_id] for cat_id in order]
        assert classes == {name: by_id.scores[kind].classes[name] for name in classes}
    assert len({str(values) for values in by_id.scores['bbox'].classes.values()}) == 3


def test_other_overlaps_and_numbers_of_detections_carry_their_own_names():
    evaluation = scored(made_up(), guesses(made_up()), iou_thrs=[0.5, 0.6], max_dets=(300, 5))
    values = evaluation.scores['bbox'].values
    assert 'mAP_75' not in values and {'mAP_50', 'AR@5', 'AR@300', 'AR_s@300'} <= values.keys()
    assert evaluation.max_dets == (5, 300)


def test_recall_of_proposals_takes_no_notice_of_classes():
    truth = made_up()
    predictions = perfect(truth)
    for prediction in predictions:
        prediction['category_id'] = 2
    values = recall(ground_truth(copy.deepcopy(truth)), predictions, (100, 300, 1000))
    assert list(values) == ['AR@100', 'AR@300', 'AR@1000', 'AR_s@1000', 'AR_m@1000', 'AR_l@1000']
    assert values['AR@1000'] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'image_id': 99}, '1 image_id of the predictions can not be found in the ground truth, such as 99'),
        ({'category_id': 77}, '1 category_id of the predictions can not .* another data set'),
    ],
)
def test_predictions_for_another_data_set_are_refused(change, message):
    truth = made_up()
    predictions = perfect(truth)
    with pytest.raises(EvaluationError, match=message):
        scored(truth, [{**predictions[0], **change}, *predictions[1:]])


@pytest.mark.parametrize('kind', KINDS)
def test_masks_of_another_size_than_their_picture_are_refused(kind):
    """Pictures of another data set may have the same ids."""
    truth = ground_truth(armbench.document(images=3))
    entries = truth_as_predictions(truth)
    truth.imgs[3].update(height=196, width=268)
    message = (
        r'masks of 60 x 80 pixels \(height x width\) for a picture of 196 x 268, image 3: these predictions are for '
        'another data set, or the ground truth has its size wrong$'
    )
    with pytest.raises(EvaluationError, match=message):
        score(truth, {kind: entries})
    del truth.imgs[3]['height']
    check(truth, entries, 'bbox', truth.getCatIds())


def test_masks_need_the_sizes_of_their_pictures_and_boxes_do_not():
    truth, found = made_up(), guesses(made_up())
    expected = scored(truth, found).scores['bbox']
    del truth['images'][0]['height']
    message = r'the ground truth: image 11 \(11.jpg\) has no height, without which masks can not .*: write the sizes'
    with pytest.raises(EvaluationError, match=message):
        scored(truth, found)
    assert score(ground_truth(truth), {'bbox': found}).scores['bbox'] == expected
    del truth['images'][0]['width']
    require_usable(truth, 'a.json', [2, 5, 9], ['bbox'])
    with pytest.raises(EvaluationError, match=r'a.json: image 11 \(11.jpg\) has no width and no height'):
        require_usable(truth, 'a.json', [2, 5, 9], ['bbox', 'segm'])


def test_boxes_alone_can_not_be_scored_as_masks():
    truth = made_up()
    boxes = [{k: v for k, v in p.items() if k != 'segmentation'} for p in perfect(truth)]
    with pytest.raises(EvaluationError, match='have no segmentation: segm can not be scored'):
        scored(truth, boxes)


def test_nothing_that_goes_in_is_changed():
    truth, predictions = made_up(), guesses(made_up())
    before = copy.deepcopy(predictions)
    coco = ground_truth(copy.deepcopy(truth))
    first = score(coco, dict.fromkeys(KINDS, predictions))
    assert predictions == before
    assert score(coco, dict.fromkeys(KINDS, predictions)) == first


@pytest.mark.parametrize('ids', [lambda i: i - 1, lambda i: i // 2 + 1], ids=['from 0', 'repeated'])
def test_the_ids_of_annotations_do_not_matter(ids):
    """An id of 0 passes for none in COCO's own evaluation, and of equal ones all but the last are lost."""
    truth = made_up()
    expected = scored(truth, guesses(truth))
    for annotation in truth['annotations']:
        annotation['id'] = ids(annotation['id'])
    assert scored(truth, guesses(truth)) == expected


def test_objects_without_a_mask_can_be_scored_as_boxes_alone():
    truth = made_up()
    truth['annotations'][0]['segmentation'] = []
    with pytest.raises(EvaluationError, match='objects without a segmentation: segm can not be scored'):
        scored(truth, guesses(truth))
    assert score(ground_truth(truth), {'bbox': guesses(truth)}).scores['bbox'].values['mAP'] > 0


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        (('cup', 'kez'), r'kez: not among the categories of the ground truth \(cup, key, red box\); names must match'),
        ('cup', r"classes must be a tuple; one class needs its comma: \('cup',\)"),
        (('red box', 'cup'), r"in the order of the categories of the ground truth: \('cup', 'red box'\)"),
    ],
)
def test_classes_that_would_get_one_another_s_labels_are_refused(classes, message):
    with pytest.raises(EvaluationError, match=message):
        category_ids(made_up()['categories'], classes)
    assert category_ids(made_up()['categories'], ('cup', 'red box')) == [2, 9]


def test_ids_that_are_off_by_one_are_called_so():
    truth = ground_truth(armbench.document(images=3))
    shifted = SABOTAGE['ids shifted by one'][1](truth_as_predictions(truth), [2, 1])
    message = (
        '1 category_id of the predictions can not be found .* such as 3: shifted: 12 of 12 .* its category id [+]1'
    )
    with pytest.raises(EvaluationError, match=message):
        score(truth, {'bbox': shifted})


def test_boxes_are_not_scored_as_masks():
    truth = ground_truth(armbench.document(images=3))
    boxes = [{k: v for k, v in e.items() if k != 'segmentation'} for e in truth_as_predictions(truth)]
    with pytest.raises(EvaluationError, match='the predictions have no segmentation: segm can not be scored'):
        score(truth, {'segm': boxes})


def test_several_categories_of_one_name_are_named_with_their_ids():
    """As exports have it that list the super-category too."""
    categories = [
        {'id': 0, 'name': 'fruit', 'supercategory': 'none'},
        {'id': 1, 'name': 'fruit'},
        {'id': 2, 'name': 'x'},
    ]
    with pytest.raises(EvaluationError, match='has 2 categories called fruit, with the ids 0, 1 .a super-category'):
        category_ids(categories, ('fruit', 'x'))
    assert category_ids(categories, ('x',)) == [2]
