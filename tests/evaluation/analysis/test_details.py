"""The details as a whole: relative sizes and curves against pycocotools, plain values, tables, the evaluator."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from damamba.evaluation.analysis.details import Details, analyse
from damamba.evaluation.coco_ap import EvaluationError, ground_truth, score
from damamba.evaluation.metric import CocoInstanceMetric
from tests.evaluation.cases import CAT_IDS, CUP, KEY, guess, scene, thing
from tests.evaluation.helpers import guesses, judged, made_up, truth_as_predictions

KINDS = ('bbox', 'segm')
SIZES = ['mAP_s', 'mAP_m', 'mAP_l', 'AR_s@100', 'AR_m@100', 'AR_l@100']
FACTOR = 640 * 480 / (320 * 240)  # what an area in the made-up pictures is in COCO's


@pytest.fixture(scope='module')
def details() -> Details:
    dataset = made_up()
    return analyse(ground_truth(dataset), dict.fromkeys(KINDS, guesses(dataset)), [9, 2, 5])


def judged_by_relative_area(dataset: dict, predictions: list[dict], kind: str) -> COCOeval:
    """pycocotools, with the areas of objects and detections enlarged."""
    entries = copy.deepcopy(predictions)
    for entry in entries:
        if kind == 'segm':
            entry.pop('bbox')
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy(dataset)
        coco.createIndex()
        found = coco.loadRes(entries)
        for annotation in (*coco.anns.values(), *found.anns.values()):
            annotation['area'] = float(annotation['area']) * FACTOR
        judge = COCOeval(coco, found, kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('seed', range(2))
def test_relative_sizes_are_pycocotools_own_with_relative_areas(kind, seed):
    dataset = made_up(seed=seed)
    predictions = guesses(dataset, seed)
    found = analyse(ground_truth(copy.deepcopy(dataset)), {kind: predictions}, [9, 2, 5]).kinds[kind].sizes
    judge = judged_by_relative_area(dataset, predictions, kind)
    expected = [*judge.stats[3:6], *judge.stats[9:12]]
    assert [*found.values] == SIZES
    np.testing.assert_allclose(list(found.values.values()), expected, rtol=0, atol=1e-6)
    assert list(found.classes) == ['red box', 'cup', 'key']
    for name, k in (('cup', 0), ('key', 1), ('red box', 2)):
        for a, size in enumerate('sml', 1):
            for array, what in (('precision', f'mAP_{size}'), ('recall', f'AR_{size}@100')):
                values = judge.eval[array][..., k, a, -1]
                assert found.classes[name][what] == pytest.approx(values[values > -1].mean(), abs=1e-6)


@pytest.mark.parametrize('kind', KINDS)
def test_relative_sizes_are_the_ordinary_ones_in_pictures_of_640_by_480(kind):
    rng = np.random.default_rng(0)

    def box(image):
        w, h = rng.integers(8, 200, 2).tolist()
        return [int(rng.integers(0, 640 - w)), int(rng.integers(0, 480 - h)), w, h], image

    things = [thing(int(rng.choice(CAT_IDS)), *box(image)) for image in (1, 2, 3) for _ in range(12)]
    truth = scene(*things, images=3, size=(480, 640))
    found = truth_as_predictions(truth)[::2]
    for entry in found:
        entry['score'] = float(rng.random())
        if rng.random() < 0.4:
            entry['category_id'] = int(rng.choice(CAT_IDS))
    expected = score(truth, {kind: found}, CAT_IDS).scores[kind]
    relative = analyse(truth, {kind: found}, CAT_IDS).kinds[kind].sizes
    assert relative.values == {name: expected.values[name] for name in SIZES}
    assert relative.classes == {n: {k: v[k] for k in SIZES} for n, v in expected.classes.items()}
    assert 0 < relative.values['mAP_m'] < 1


@pytest.mark.parametrize('kind', KINDS)
def test_a_detection_counts_as_large_by_its_part_of_the_picture(kind):
    """5 % of a big picture is found behind 0.5 % where nothing is: large for COCO, though not in this picture."""
    truth = scene(thing(CUP, (0, 0, 400, 500)), size=(2000, 2000))
    wrong, right = (1000, 1000, 100, 200), (0, 0, 400, 500)
    found = [guess(CUP, wrong, 0.9, side=2000), guess(CUP, right, 0.8, side=2000)]
    assert score(truth, {kind: found}).scores[kind].values['mAP_l'] == pytest.approx(0.5)
    sizes = analyse(truth, {kind: found}, [CUP]).kinds[kind].sizes.values
    assert sizes['mAP_l'] == pytest.approx(1.0) and sizes['AR_l@100'] == 1.0
    assert sizes['mAP_s'] == sizes['mAP_m'] == -1.0


@pytest.mark.parametrize(('side', 'size'), [(115, 's'), (116, 'm'), (346, 'm'), (347, 'l')])
def test_a_300th_of_the_picture_is_medium_and_three_percent_are_large(side, size):
    """Of a picture of 2000 x 2000: 13,333 and 120,000 pixels."""
    truth = scene(thing(CUP, (0, 0, side, side)), size=(2000, 2000))
    sizes = analyse(truth, {'bbox': [guess(CUP, (0, 0, side, side), side=2000)]}, [CUP]).kinds['bbox'].sizes.values
    assert {name[-1] for name in SIZES[:3] if sizes[name] == 1.0} == {size}


@pytest.mark.parametrize('kind', KINDS)
def test_curves_are_pycocotools_precision_at_101_recalls(details, kind):
    dataset = made_up()
    judge = judged(dataset, guesses(dataset), kind)
    curves = details.kinds[kind].curves
    assert list(curves) == ['red box', 'cup', 'key']
    for name, k in (('cup', 0), ('key', 1), ('red box', 2)):
        for overlap, t in (('0.50', 0), ('0.75', 5)):
            np.testing.assert_allclose(curves[name][overlap], judge.eval['precision'][t, :, k, 0, -1], atol=1e-6)


@pytest.mark.parametrize('kind', KINDS)
def test_the_ground_truth_is_perfect_in_every_detail(kind):
    truth = ground_truth(made_up())
    found = analyse(truth, {kind: truth_as_predictions(truth)}, [2, 5, 9]).kinds[kind]
    for values in (found.sizes.values, *found.sizes.classes.values()):
        assert set(values.values()) <= {1.0, -1.0} and 1.0 in values.values()
    assert found.errors.values['AP50'] == 1.0 and not any(found.errors.counts.values())
    assert all(c == 0 for r, row in enumerate(found.confusion.counts) for k, c in enumerate(row) if r != k)
    assert all(set(curve) == {1.0} for curves in found.curves.values() for curve in curves.values())


def test_details_are_plain_values_without_nan_and_none_for_boxes_where_masks_are_meant(details):
    content = details.to_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content['least_score'] == 0.3 and content['max_dets'] == 100 and list(content['kinds']) == list(KINDS)
    assert content['kinds']['bbox']['segmentation'] is None
    assert set(content['kinds']['bbox']['sizes']) == {'values', 'classes'}
    assert list(content['kinds']['segm']['segmentation']['classes']) == ['red box', 'cup', 'key']
    assert content['kinds']['segm']['confusion']['classes'] == ['red box', 'cup', 'key', 'background']


@pytest.mark.parametrize('things', [[], [thing(CUP, (0, 0, 20, 20))]], ids=['no objects', 'one class without'])
@pytest.mark.parametrize('found', [[], [guess(KEY, (0, 0, 20, 20))]], ids=['no detections', 'one'])
def test_what_is_not_there_is_undefined_and_neither_nan_nor_an_error(things, found):
    details = analyse(scene(*things, images=2), dict.fromkeys(KINDS, found), CAT_IDS)
    content = json.dumps(details.to_dict(), allow_nan=False)
    assert 'nan' not in (content + details.table()).lower()
    for kind in details.kinds.values():
        assert set(kind.sizes.classes['key'].values()) == {-1.0} and kind.curves['key'] == {}
        assert kind.errors.classes['key']['AP50'] == -1.0
        assert kind.errors.values['AP50'] == (0.0 if things else -1.0)


def test_one_class_alone_has_no_line_for_the_mean():
    found = analyse(scene(thing(CUP, (0, 0, 20, 20))), {'segm': [guess(CUP, (0, 0, 20, 20))]}, [CUP])
    assert 'mean' not in found.table() and ' all ' not in found.table()
    assert found.kinds['segm'].confusion.counts == [[1, 0], [0, 0]]


def test_the_score_and_the_number_of_detections_are_arguments():
    truth = scene(thing(CUP, (0, 0, 20, 20)))
    found = [guess(CUP, (50, 50, 9, 9), 0.9), guess(CUP, (0, 0, 20, 20), 0.2)]
    whole, sure, cut = (
        analyse(truth, {'bbox': found}, [CUP], least, most).kinds['bbox']
        for least, most in ((0.1, 100), (0.3, 100), (0.1, 1))
    )
    assert whole.confusion.counts == [[1, 0], [1, 0]] and sure.confusion.counts == [[0, 1], [1, 0]]
    assert [part.errors.values['AP50'] for part in (whole, sure, cut)] == [0.5, 0.5, 0.0]
    assert list(cut.sizes.values)[-1] == 'AR_l@1' and max(cut.curves['cup']['0.50']) == 0.0


def test_nothing_that_goes_in_is_changed():
    dataset = made_up()
    truth, found = ground_truth(copy.deepcopy(dataset)), guesses(dataset)
    areas, before = [a['area'] for a in truth.dataset['annotations']], copy.deepcopy(found)
    first = analyse(truth, dict.fromkeys(KINDS, found), [2, 5, 9])
    assert found == before and [a['area'] for a in truth.dataset['annotations']] == areas
    assert analyse(truth, dict.fromkeys(KINDS, found), [2, 5, 9]) == first


def test_images_without_their_size_and_other_data_sets_are_refused():
    truth = scene(thing(CUP, (0, 0, 20, 20)))
    with pytest.raises(EvaluationError, match='1 image_id of the predictions'):
        analyse(truth, {'bbox': [guess(CUP, (0, 0, 9, 9), image=7)]}, [CUP])
    del truth.dataset['images'][0]['width']
    with pytest.raises(EvaluationError, match='must say their width and height, such as 1: '):
        analyse(truth, {'bbox': [guess(CUP, (0, 0, 9, 9))]}, [CUP])


def test_the_tables_are_of_boxes_and_then_of_masks(details):
    titles = [
        f'{kind} {what}'
        for what in ('AP and AR by relative area', 'AP50 lost to errors', 'confusion matrix')
        for kind in ('Box', 'Mask')
    ]
    text = details.table()
    found = [line for line in text.splitlines() if line and line[0].isalpha()]
    assert found == [*titles, 'Mask under- and over-segmentation']
    assert all(line == line.rstrip() and '\x1b' not in line for line in text.splitlines())


@pytest.mark.parametrize('wanted', [True, False])
def test_the_evaluator_logs_and_keeps_them_if_asked(tmp_path, wanted, monkeypatch):
    truth = scene(thing(CUP, (0, 0, 20, 20)), thing(KEY, (50, 50, 20, 20)))
    (tmp_path / 'truth.json').write_text(json.dumps(truth.dataset))
    logged = []
    monkeypatch.setattr(MMLogger, 'info', lambda self, text, *args: logged.append(text % args), raising=False)
    metric = CocoInstanceMetric(str(tmp_path / 'truth.json'), 'bbox', details=wanted, proposal_nums=(100, 1))
    metric.dataset_meta = dict(classes=('key', 'cup'))
    found = dict(bboxes=torch.tensor([[0.0, 0, 20, 20]]), scores=torch.tensor([0.9]), labels=torch.tensor([1]))
    sample = dict(img_id=1, ori_shape=(100, 100), pred_instances=found)
    metric.process({}, [sample])
    values = metric.evaluate(1)
    assert values['coco/bbox_mAP'] == 0.5 and not any('details' in name for name in values)
    content = metric.evaluation.to_dict()
    assert ('details' in content) == any('lost to errors' in text for text in logged) == wanted
    if wanted:
        assert content['details']['kinds']['bbox']['errors']['classes']['key']['missed'] == 1.0
        assert content['details']['max_dets'] == 100
    json.dumps(content, allow_nan=False)
