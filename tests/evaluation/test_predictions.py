"""What predictions files hold, what is refused, and that reading a pickle runs no code."""

import io
import json
import os
import pickle

import numpy as np
import pytest
import torch
from faster_coco_eval import COCO
from pycocotools import mask as rle

from damamba.evaluation.coco_ap import EvaluationError, ground_truth
from damamba.evaluation.predictions import (
    coco_results,
    read_json,
    read_pickle,
    with_readable_values,
)
from tests.evaluation.helpers import guesses, made_up, truth_as_predictions

RLE = {'size': [4, 6], 'counts': b'448b0'}


def result(img_id=7, **more) -> dict:
    boxes = np.array([[1.5, 2, 4, 8], [0, 0, 3, 3]], np.float32)
    return dict(img_id=img_id, bboxes=boxes, scores=np.array([0.5, 0.25]), labels=np.array([1, 0]), **more)


def test_results_become_cocos_with_category_ids_and_widths():
    found = coco_results([result()], cat_ids=[2, 9])
    assert list(found) == ['bbox']
    assert found['bbox'][0] == {'image_id': 7, 'bbox': [1.5, 2, 2.5, 6], 'score': 0.5, 'category_id': 9}
    assert found['bbox'][1]['category_id'] == 2
    json.dumps(found)  # plain values


def test_masks_have_their_own_scores_where_there_are_some_and_text_that_json_takes():
    masked = result(masks=[RLE, RLE], mask_scores=np.array([0.125, 0.75]))
    found = coco_results([masked], cat_ids=[2, 9])
    assert [e['score'] for e in found['bbox']] == [0.5, 0.25]
    assert [e['score'] for e in found['segm']] == [0.125, 0.75]
    assert found['segm'][0]['segmentation'] == {'size': [4, 6], 'counts': '448b0'}
    assert all('segmentation' not in entry for entry in found['bbox'])
    assert coco_results([result(masks=[RLE, RLE])], [2, 9])['segm'][0]['score'] == 0.5
    json.dumps(found)


def test_no_results_at_all_are_no_boxes():
    assert coco_results([], cat_ids=[1]) == {'bbox': []}


def test_the_ground_truth_as_predictions_has_every_object_but_crowds_and_the_same_masks():
    truth = made_up()
    kinds = {(type(a['segmentation']), a['iscrowd']) for a in truth['annotations']}
    assert kinds == {(list, 0), (dict, 0), (dict, 1)}
    objects = [a for a in truth['annotations'] if not a['iscrowd']]
    packed = rle.frPyObjects(objects[0]['segmentation'], 240, 320)[0]
    objects[0]['segmentation'] = {**packed, 'counts': packed['counts'].decode()}  # an RLE of the compressed kind
    coco = COCO(truth)
    predictions = truth_as_predictions(coco)
    assert len(predictions) == len(objects) < len(truth['annotations'])
    for prediction, annotation in zip(predictions, objects, strict=True):
        assert prediction['score'] == 1.0 and prediction['bbox'] == annotation['bbox']
        assert prediction['category_id'] == annotation['category_id']
        np.testing.assert_array_equal(rle.decode(prediction['segmentation']), coco.annToMask(annotation))
    json.dumps(predictions)


def read_text(tmp_path, text):
    (tmp_path / 'results.json').write_text(text)
    return read_json(tmp_path / 'results.json')


def test_results_with_masks_are_of_both_kinds_and_boxes_of_one(tmp_path):
    predictions = guesses(made_up())
    assert read_text(tmp_path, json.dumps(predictions)) == {'bbox': predictions, 'segm': predictions}
    boxes = [{k: v for k, v in p.items() if k != 'segmentation'} for p in predictions]
    assert read_text(tmp_path, json.dumps(boxes)) == {'bbox': boxes}
    masks = [{k: v for k, v in p.items() if k != 'bbox'} for p in predictions]
    assert read_text(tmp_path, json.dumps(masks)) == {'segm': masks}


def test_an_empty_list_is_no_detections_of_both_kinds(tmp_path):
    assert read_text(tmp_path, '[]') == {'bbox': [], 'segm': []}


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('[{', 'results.json is no JSON: '),
        ('', 'results.json is no JSON: '),
        (json.dumps(made_up()), 'does not hold COCO results, .*; this is a ground truth'),
        (json.dumps(made_up()['annotations']), 'does not hold COCO results'),  # no scores
        ('{"metrics": {}}', 'does not hold COCO results, .* bbox or segmentation$'),
        ('[1, 2]', 'does not hold COCO results'),
        ('[{"image_id": 1, "category_id": 1, "score": 0.5}]', 'entries without bbox and'),
    ],
)
def test_a_file_of_something_else_is_refused_with_the_reason(tmp_path, text, message):
    with pytest.raises(EvaluationError, match=message):
        read_text(tmp_path, text)


def test_a_file_that_is_no_text_is_no_json(tmp_path):
    (tmp_path / 'results.json').write_bytes(b'\x89PNG\xff')
    with pytest.raises(EvaluationError, match='is no JSON'):
        read_json(tmp_path / 'results.json')


def dumped(path, masks=True) -> tuple[list[torch.Tensor], list[np.ndarray]]:
    """Let MMDetection's own class write what ``--out`` writes; return the boxes and the masks that are in it."""
    from mmdet.evaluation.metrics import DumpDetResults

    writer = DumpDetResults(out_file_path=str(path))
    boxes, drawn = [], []
    for img_id, count in ((3, 2), (5, 0), (8, 4)):
        boxes.append(torch.rand(count, 4))
        drawn.append(torch.rand(count, 9, 12) > 0.5)
        predicted = dict(bboxes=boxes[-1], scores=torch.rand(count), labels=torch.arange(count))
        if masks:
            predicted['masks'] = drawn[-1].clone()
        sample = dict(img_id=img_id, ori_shape=(9, 12), scale_factor=(0.5, 0.5), img_path='x.jpg')
        writer.process({}, [{**sample, 'pred_instances': predicted, 'gt_instances': dict(labels=torch.zeros(1))}])
    writer.evaluate(3)
    return boxes, [mask.numpy() for mask in drawn]


def test_what_out_writes_is_read(tmp_path):
    boxes, masks = dumped(tmp_path / 'out.pkl')
    results = read_pickle(tmp_path / 'out.pkl')
    assert [r['img_id'] for r in results] == [3, 5, 8]
    for read, box, mask in zip(results, boxes, masks, strict=True):
        np.testing.assert_array_equal(read['bboxes'], box.numpy())
        assert read['labels'].tolist() == list(range(len(box))) and read['scores'].dtype == np.float32
        np.testing.assert_array_equal([rle.decode(m) for m in read['masks']], list(mask))
    found = coco_results(results, cat_ids=[1, 2, 3, 4])
    assert len(found['bbox']) == len(found['segm']) == 6


@pytest.mark.parametrize('masks', [True, False])
def test_pictures_of_another_size_than_the_ground_truths_are_refused(tmp_path, masks):
    dumped(tmp_path / 'out.pkl', masks)
    images = [{'id': i, 'height': 9, 'width': 12} for i in (3, 5, 8)]
    truth = ground_truth({'images': images, 'categories': [], 'annotations': []})
    assert len(read_pickle(tmp_path / 'out.pkl', truth)) == 3
    truth.imgs[5]['height'] = 12
    message = r'predictions of 9 x 12 pixels \(height x width\) for a picture of 12 x 12, image 5: these predictions'
    with pytest.raises(EvaluationError, match=message):
        read_pickle(tmp_path / 'out.pkl', truth)
    del truth.imgs[5], truth.imgs[3]['height']  # found out, or not, by what is scored
    assert len(read_pickle(tmp_path / 'out.pkl', truth)) == 3


def test_boxes_alone_are_read_too(tmp_path):
    boxes, _ = dumped(tmp_path / 'out.pkl', masks=False)
    results = read_pickle(tmp_path / 'out.pkl')
    np.testing.assert_array_equal(results[2]['bboxes'], boxes[2].numpy())
    assert list(coco_results(results, cat_ids=[1, 2, 3, 4])) == ['bbox']


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


class Hidden:
    """Hides a payload where torch's pickles keep the numbers of a tensor."""

    def __init__(self, payload):
        buffer = io.BytesIO()
        torch.save(payload, buffer)
        self.content = buffer.getvalue()

    def __reduce__(self):
        return torch.storage._load_from_bytes, (self.content,)


@pytest.mark.parametrize(
    'hide', [lambda payload: payload, Hidden, lambda payload: [dict(pred_instances=Hidden(payload))]]
)
@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_code_in_a_pickle_is_refused_and_does_not_run(tmp_path, hide, protocol):
    content = pickle.dumps(hide(Payload(tmp_path / 'ran')), protocol=protocol)
    (tmp_path / 'out.pkl').write_bytes(content)
    with pytest.raises(EvaluationError, match='out.pkl can not be read'):
        read_pickle(tmp_path / 'out.pkl')
    assert not (tmp_path / 'ran').exists()
    pickle.loads(content)
    assert (tmp_path / 'ran').exists(), 'the payload does nothing, so this test proves nothing'


@pytest.mark.parametrize('name', ['PyTorchFileWriter', 'PyTorchFileReader', 'Tensor', 'Generator', 'load'])
def test_nothing_of_torch_but_data_types_and_sizes_is_built(tmp_path, name):
    """torch.PyTorchFileWriter(path) empties a file, or makes one."""
    (tmp_path / 'out.pkl').write_bytes(f'ctorch\n{name}\n(V{tmp_path}/written\ntR.'.encode())
    with pytest.raises(EvaluationError, match=f'refused, since it asks for torch.{name}'):
        read_pickle(tmp_path / 'out.pkl')
    assert not (tmp_path / 'written').exists()


@pytest.mark.parametrize('left', [0.1, 0.5, 0.99])
def test_a_truncated_file_can_not_be_read(tmp_path, left):
    dumped(tmp_path / 'out.pkl')
    content = (tmp_path / 'out.pkl').read_bytes()
    (tmp_path / 'out.pkl').write_bytes(content[: int(len(content) * left)])
    with pytest.raises(EvaluationError, match='out.pkl can not be read: '):
        read_pickle(tmp_path / 'out.pkl')


@pytest.mark.parametrize(
    'content',
    [
        *(b'', b'garbage', b'Images\n', b'\x80\xff', b'\x80\x04}]K\x01s.', b'\x8c\x01\xff.', b'ctorch\nfloat32\n)R.'),
        *map(pickle.dumps, (np.zeros(3), {'bbox': []}, [1, 2], [{'img_id': 3}])),
    ],
)
def test_garbage_and_other_pickles_are_refused(tmp_path, content):
    (tmp_path / 'out.pkl').write_bytes(content)
    with pytest.raises(
        EvaluationError, match='out.pkl (can not be read: |does not hold the predictions of a detector)'
    ):
        read_pickle(tmp_path / 'out.pkl')


@pytest.mark.parametrize(
    'sample', [dict(pred_instances=dict(bboxes=torch.zeros(0, 4))), dict(img_id=1, pred_instances={}), dict(img_id=1)]
)
def test_samples_that_lack_what_a_detector_says_are_refused(tmp_path, sample):
    (tmp_path / 'out.pkl').write_bytes(pickle.dumps([sample], protocol=2))
    with pytest.raises(EvaluationError, match='does not hold the predictions of a detector'):
        read_pickle(tmp_path / 'out.pkl')


def entry(**more) -> dict:
    return {'image_id': 11, 'category_id': 2, 'score': 0.5, 'bbox': [1, 1, 4, 3], **more}


@pytest.mark.parametrize('form', ['polygons', 'numbers', 'text'])
def test_masks_in_every_form_of_coco_are_the_same_masks(form):
    truth = ground_truth(made_up())
    mask = np.zeros((240, 320), np.uint8, order='F')
    mask[5:9, 3:13] = 1
    forms = {
        'polygons': [[3, 5, 13, 5, 13, 9, 3, 9]],
        'numbers': {'size': [240, 320], 'counts': [3 * 240 + 5, *[4, 236] * 9, 4, 308 * 240 - 9]},
        'text': {'size': [240, 320], 'counts': rle.encode(mask)['counts'].decode()},
    }
    (found,) = with_readable_values([entry(segmentation=forms[form])], truth, 'x.json')
    assert (rle.decode({**found['segmentation'], 'counts': found['segmentation']['counts'].encode()}) == mask).all()


@pytest.mark.parametrize(
    ('more', 'text'),
    [
        (dict(score=float('nan')), 'score must be a finite number, got nan'),
        (dict(score=10**400), 'score must be a finite number, got 1000.*0'),
        (dict(bbox=[1, 2, 10**400, 3]), 'bbox must be'),
        (dict(score=None), 'score must be a finite number, got None'),
        (dict(score='0.5'), "score must be a finite number, got '0.5'"),
        (dict(image_id='11'), "image_id must be an integer, got '11'"),
        (dict(category_id=2.0), 'category_id must be an integer, got 2.0'),
        (dict(bbox=[1, 2, 3]), r'bbox must be \[x, y, width, height\] in pixels, got \[1, 2, 3\]'),
        (dict(bbox=[1, 2, float('inf'), 3]), 'bbox must be'),
        (dict(bbox=None), 'bbox must be .*, got None'),
        (dict(bbox=[50, 50, -10, 10]), 'bbox must be'),
        (dict(segmentation=None), 'its segmentation is neither RLE nor polygons: no segmentation'),
        (dict(segmentation=[[1, 2, 3, 4, 5]]), '.*a polygon has 5 numbers'),
        (dict(segmentation=[[float('nan')] * 8]), '.*NaN or Infinity'),
        (dict(segmentation=[[1e12, 1, 1e12, 5, 1, 1]]), '.*it leaves the picture of 320 x 240 pixels'),
        (dict(segmentation={'size': [240, 320], 'counts': 'zzzz'}), '.*counts is no compressed RLE'),
        (dict(segmentation={'size': [240, 320], 'counts': [0, 10]}), '.*the runs do not add up'),
        (dict(segmentation={'size': [240, 320], 'counts': '0:'}), '.*the runs do not add up'),
        (dict(segmentation=[[1, 2, 3]]), 'its segmentation is neither RLE nor polygons'),
        (dict(segmentation={'size': [240, 320]}), 'its segmentation is neither RLE nor polygons'),
        (dict(segmentation='mask'), 'its segmentation is neither RLE nor polygons'),
        (dict(segmentation={'size': [240, 320], 'counts': 7}), 'its segmentation is neither RLE nor polygons'),
    ],
)
def test_values_that_are_none_are_one_sentence_that_names_the_entry(more, text):
    with pytest.raises(EvaluationError, match=rf'^x.json, entry 1 \(image .*\): {text}'):
        with_readable_values([entry(), entry(**more)], ground_truth(made_up()), 'x.json')


WRONG = {  # what is done to what a detector says of one picture, and what is said of that
    'NaN': (dict(scores=np.array([0.5, np.nan])), 'image 7: there is NaN or infinity in boxes or scores'),
    'infinity': (dict(bboxes=np.full((2, 4), np.inf)), 'image 7: there is NaN or infinity in boxes or scores'),
    'a label below 0': (dict(labels=np.array([0, -1])), 'labels from -1 to 1, and the ground truth 2 classes'),
    'labels that are no integers': (dict(labels=np.array([0.0, 1.0])), 'image 7: boxes, scores, labels and masks'),
    'too few scores': (dict(scores=np.array([0.5])), 'image 7: boxes, scores, labels and masks'),
    'masks of one picture': (dict(masks=[{}, {}]), 'some pictures of the predictions have masks, and some have none'),
}


@pytest.mark.parametrize('what', WRONG)
def test_numbers_that_are_none_make_no_figures(what):
    right = dict(img_id=6, bboxes=np.ones((2, 4)), scores=np.array([0.5, 0.4]), labels=np.array([0, 1]))
    more, text = WRONG[what]
    with pytest.raises(EvaluationError, match=text):
        coco_results([right, {**right, 'img_id': 7, **more}], [1, 2])
