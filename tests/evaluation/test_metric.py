"""The metric that MMEngine runs: samples in, as a loop gives them, and COCO's numbers out."""

import copy
import json
import random
from collections import Counter

import numpy as np
import pytest
import torch
from faster_coco_eval import COCO
from pycocotools import mask as rle

from damamba.evaluation.coco_ap import recall, score
from damamba.evaluation.metric import CocoInstanceMetric
from damamba.evaluation.predictions import coco_results, read_json
from damamba.evaluation.results import EvaluationError
from tests.evaluation.helpers import guesses, judged, made_up

CLASSES = ('cup', 'key', 'red box')
CAT_IDS = [2, 5, 9]
NUMBERS = ['mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l', 'AR@1', 'AR@10', 'AR@100']
NUMBERS += ['AR_s@100', 'AR_m@100', 'AR_l@100']
TWELVE = [f'{kind}_{name}' for kind in ('bbox', 'segm') for name in NUMBERS]


@pytest.fixture(scope='module')
def truth() -> dict:
    return made_up()


@pytest.fixture
def ann_file(tmp_path, truth) -> str:
    (tmp_path / 'truth.json').write_text(json.dumps(truth))
    return str(tmp_path / 'truth.json')


def metric(ann_file=None, kinds=('bbox', 'segm'), **options) -> CocoInstanceMetric:
    result = CocoInstanceMetric(ann_file=ann_file, metric=kinds, **options)
    result.dataset_meta = dict(classes=CLASSES)
    return result


def samples(truth: dict, predictions: list[dict]) -> list[dict]:
    """What a detector gives for each image: boxes by their corners, labels, masks as arrays."""
    return [_sample(image, [p for p in predictions if p['image_id'] == image['id']]) for image in truth['images']]


def _sample(image: dict, found: list[dict]) -> dict:
    boxes = torch.tensor([p['bbox'] for p in found], dtype=torch.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    masks = [torch.from_numpy(rle.decode(p['segmentation'])) for p in found]
    shape = (image['height'], image['width'])
    predicted = dict(
        bboxes=boxes,
        scores=torch.tensor([p['score'] for p in found], dtype=torch.float64),
        labels=torch.tensor([CAT_IDS.index(p['category_id']) for p in found], dtype=torch.long),
        masks=torch.stack(masks).bool() if masks else torch.zeros(0, *shape, dtype=torch.bool),
    )
    return dict(img_id=image['id'], ori_shape=shape, pred_instances=predicted)


def evaluated(metric: CocoInstanceMetric, fed: list[dict], size: int | None = None) -> dict:
    """As MMEngine's loop does; ``size`` images are in the data set."""
    for sample in fed:
        metric.process({}, [copy.deepcopy(sample)])
    return metric.evaluate(size or len(fed))


def bare(values: dict) -> dict:
    """Without the metric's prefix."""
    return {name.removeprefix('coco/'): value for name, value in values.items()}


@pytest.fixture(scope='module')
def found(truth) -> list[dict]:
    return samples(truth, guesses(truth))


def test_the_values_are_those_of_scoring_and_of_pycocotools(truth, found, ann_file):
    values = bare(evaluated(metric(ann_file), found))
    predictions = guesses(truth)
    expected = score(COCO(copy.deepcopy(truth)), dict.fromkeys(('bbox', 'segm'), predictions)).flat()
    assert list(values) == TWELVE and values == pytest.approx(expected, abs=1e-12)
    for kind in ('bbox', 'segm'):
        ours = [values[f'{kind}_{name}'] for name in NUMBERS]
        np.testing.assert_allclose(ours, judged(truth, predictions, kind).stats, rtol=0, atol=1e-6)


def test_every_image_counts_once_in_whatever_order_they_come(found, ann_file):
    """Samplers repeat images to fill up the last round of several processes."""
    expected = evaluated(metric(ann_file), found)
    shuffled = random.Random(0).sample(found, len(found))
    assert evaluated(metric(ann_file), shuffled) == expected
    repeated = [*found, *found[:5], found[1]]
    assert evaluated(metric(ann_file), repeated) == expected
    assert evaluated(metric(ann_file), repeated, size=len(found)) == expected


def test_a_metric_measures_every_epoch_anew(truth, found, ann_file):
    again = metric(ann_file)
    first = evaluated(again, found)
    assert evaluated(again, samples(truth, [])) == dict.fromkeys(first, 0.0)
    assert evaluated(again, found) == first


def test_no_detection_at_all_is_zero_for_all_twelve_of_both_kinds(truth, ann_file):
    assert bare(evaluated(metric(ann_file), samples(truth, []))) == dict.fromkeys(TWELVE, 0.0)


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_one_kind_alone_measures_that_kind(found, ann_file, kind):
    both = evaluated(metric(ann_file), found)
    alone = evaluated(metric(ann_file, kind), found)
    assert alone == {name: value for name, value in both.items() if name.startswith(f'coco/{kind}')} and alone


def test_only_the_items_asked_for_are_returned(found, ann_file):
    values = bare(evaluated(metric(ann_file, metric_items=['AR@10', 'mAP_50']), found))
    assert list(values) == ['bbox_AR@10', 'bbox_mAP_50', 'segm_AR@10', 'segm_mAP_50']


def test_an_item_that_is_not_known_is_an_error_that_lists_those_that_are(found, ann_file):
    with pytest.raises(EvaluationError, match='metric_items does not know map; it takes mAP, mAP_50, .*AR_l@100'):
        evaluated(metric(ann_file, metric_items=['mAP', 'map']), found)


def test_classwise_names_each_class_of_each_kind(truth, found, ann_file):
    values = bare(evaluated(metric(ann_file, classwise=True), found))
    judge = judged(truth, guesses(truth), 'segm')
    precision = judge.eval['precision'][:, :, CAT_IDS.index(9), 0, -1]
    assert values['segm_red box_precision'] == pytest.approx(precision[precision > -1].mean(), abs=1e-6)
    extra = [f'{kind}_{name}_precision' for kind in ('bbox', 'segm') for name in CLASSES]
    assert [name for name in values if name not in TWELVE] == extra


def test_the_evaluation_is_kept_with_all_its_numbers(found, ann_file):
    run = metric(ann_file, metric_items=['mAP'], prefix='mine')
    values = evaluated(run, found)
    assert values['mine/segm_mAP'] == run.evaluation.scores['segm'].values['mAP']
    assert list(run.evaluation.scores['bbox'].values) == NUMBERS and run.evaluation.images == 14


def test_overlaps_may_be_one_number_or_several(found, ann_file):
    expected = bare(evaluated(metric(ann_file, 'bbox'), found))
    one = bare(evaluated(metric(ann_file, 'bbox', iou_thrs=0.5), found))
    assert one['bbox_mAP'] == one['bbox_mAP_50'] == expected['bbox_mAP_50'] and 'bbox_mAP_75' not in one
    two = bare(evaluated(metric(ann_file, 'bbox', iou_thrs=[0.5, 0.75]), found))
    assert two['bbox_mAP'] == pytest.approx((expected['bbox_mAP_50'] + expected['bbox_mAP_75']) / 2)


def test_masks_may_have_scores_of_their_own(truth, found, ann_file):
    turned = copy.deepcopy(found)
    for sample in turned:
        predicted = sample['pred_instances']
        predicted['mask_scores'] = 1 - predicted['scores']
    values = bare(evaluated(metric(ann_file), turned))
    plain = bare(evaluated(metric(ann_file), found))
    predictions = [{**p, 'score': 1 - p['score']} for p in guesses(truth)]
    expected = score(COCO(copy.deepcopy(truth)), {'segm': predictions}).flat()
    assert {name: values[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert values['bbox_mAP'] == plain['bbox_mAP'] and values['segm_mAP'] != plain['segm_mAP']


def test_result_files_score_the_same_and_their_folder_is_made(truth, found, ann_file, tmp_path):
    prefix = tmp_path / 'new' / 'results'
    values = bare(evaluated(metric(ann_file, outfile_prefix=str(prefix)), found))
    read = {kind: read_json(prefix.parent / f'results.{kind}.json')[kind] for kind in ('bbox', 'segm')}
    assert len(read['bbox']) == len(read['segm']) == len(guesses(truth))
    assert score(COCO(copy.deepcopy(truth)), read).flat() == values


def test_formatting_measures_nothing_and_needs_no_annotations(truth, found, tmp_path):
    """As COCO's image_info_test-dev2017.json has none."""
    alone = {name: value for name, value in truth.items() if name != 'annotations'}
    (tmp_path / 'image_info.json').write_text(json.dumps(alone))
    prefix = str(tmp_path / 'results')
    writer = metric(str(tmp_path / 'image_info.json'), format_only=True, outfile_prefix=prefix)
    assert evaluated(writer, found) == {}
    assert writer.evaluation is None
    expected = score(COCO(copy.deepcopy(truth)), dict.fromkeys(('bbox', 'segm'), guesses(truth))).flat()
    read = {kind: read_json(tmp_path / f'results.{kind}.json')[kind] for kind in ('bbox', 'segm')}
    assert score(COCO(copy.deepcopy(truth)), read).flat() == pytest.approx(expected, abs=1e-12)


def test_proposals_are_measured_by_their_recall_whatever_their_class(truth, found, ann_file):
    values = bare(evaluated(metric(ann_file, 'proposal'), found))
    assert list(values) == ['AR@100', 'AR@300', 'AR@1000', 'AR_s@1000', 'AR_m@1000', 'AR_l@1000']
    assert values == pytest.approx(recall(COCO(copy.deepcopy(truth)), guesses(truth), (100, 300, 1000)), abs=1e-12)
    assert values == bare(evaluated(metric(ann_file, 'proposal'), [_classless(sample) for sample in found]))


def _classless(sample: dict) -> dict:
    predicted = sample['pred_instances']
    return {**sample, 'pred_instances': {**predicted, 'labels': torch.zeros_like(predicted['labels'])}}


@pytest.mark.parametrize('name', ['proposal', 'proposal_fast'])
def test_recall_of_proposals_is_by_hand_that_of_the_objects_found(truth, ann_file, name):
    """Boxes that are exact, of all objects and of every second one."""
    objects = [{**a, 'score': 1.0} for a in truth['annotations'] if not a['iscrowd']]
    for entry in objects:
        entry['segmentation'] = rle.encode(np.zeros((240, 320), np.uint8, order='F'))
    values = bare(evaluated(metric(ann_file, name), samples(truth, objects)[::-1]))
    assert values == {'AR@100': 1.0, 'AR@300': 1.0, 'AR@1000': 1.0} | {f'AR_{size}@1000': 1.0 for size in 'sml'}
    some = objects[::2]
    values = bare(evaluated(metric(ann_file, name, proposal_nums=(3,)), samples(truth, some)))
    counts = Counter(entry['image_id'] for entry in some)
    assert max(counts.values()) > 3  # of which 3 count
    assert values['AR@3'] == pytest.approx(sum(min(3, count) for count in counts.values()) / len(objects))


def test_without_an_annotation_file_the_ground_truth_comes_with_the_samples(truth, found, ann_file):
    """Its areas are those of boxes, so sizes differ; the rest does not."""
    fed = [{**sample, 'instances': _instances(truth, sample['img_id'])} for sample in found]
    repeated = metric()
    values = bare(evaluated(repeated, [*fed, fed[0]]))
    expected = bare(evaluated(metric(ann_file), found))
    for name in ('mAP', 'mAP_50', 'mAP_75', 'AR@1', 'AR@10', 'AR@100'):
        assert values[f'bbox_{name}'] == pytest.approx(expected[f'bbox_{name}'], abs=1e-9)
        assert values[f'segm_{name}'] == pytest.approx(expected[f'segm_{name}'], abs=1e-9)
    assert bare(evaluated(repeated, fed)) == values  # another epoch


def _instances(truth: dict, image_id: int) -> list[dict]:
    of_image = [a for a in truth['annotations'] if a['image_id'] == image_id]
    return [
        dict(
            bbox=[x, y, x + w, y + h],
            bbox_label=CAT_IDS.index(a['category_id']),
            ignore_flag=a['iscrowd'],
            mask=copy.deepcopy(a['segmentation']),
        )
        for a in of_image
        for x, y, w, h in [a['bbox']]
    ]


def test_ground_truth_in_the_samples_may_hold_no_object(found):
    values = evaluated(metric(), [{**sample, 'instances': []} for sample in found])
    assert bare(values) == dict.fromkeys(TWELVE, -1.0)  # nothing to find: undefined


def test_results_of_a_detector_are_those_of_its_samples(truth, found, ann_file):
    run = metric(ann_file)
    for sample in found:
        run.process({}, [copy.deepcopy(sample)])
    results = coco_results([result for _, result in run.results], CAT_IDS)
    assert [len(results[kind]) for kind in ('bbox', 'segm')] == [len(guesses(truth))] * 2
