"""An evaluation that is right proves itself, for every head; one that is wrong does not, and says how."""

import json

import pytest
from pycocotools import mask as coco_mask

import damamba.register  # noqa: F401
from damamba.datasets.categories import DatasetError
from damamba.datasets.run_lengths import run_lengths
from damamba.engine.config import read_config
from damamba.evaluation.analysis.details import analyse
from damamba.evaluation.coco_ap import EvaluationError
from damamba.evaluation.proof import prove as proofs
from damamba.evaluation.proof.claims import ProofError
from damamba.evaluation.proof.prove import prove
from damamba.evaluation.proof.sample import choose
from tests import armbench
from tests.detection import ROOT

CONFIGS = [
    'mask_rcnn_r50_fpn_armbench',
    'mask_rcnn_DAMamba_nano_fpn_armbench_demo',
    'mask2former_swin-b-p4-w12-384_armbench',
]
SUBSETS = ['mix-object-tote', 'zoomed-out-tote-transfer-set', 'same-object-transfer-set']


def read(root, name=CONFIGS[0], **options):
    return read_config(str(ROOT / 'configs' / 'armbench' / f'{name}.py'), {'data_root': str(root), **options})


def held(proof):
    return {check.name: check.passed for check in proof.checks}


@pytest.mark.parametrize('subset', SUBSETS)
@pytest.mark.parametrize('name', CONFIGS)
def test_every_head_is_proved_on_every_subset_and_its_first_picks_lie_on_top(tmp_path, name, subset, monkeypatch):
    armbench.write_all(tmp_path)
    judged, judge = [], proofs._perfect
    monkeypatch.setattr(proofs, '_perfect', lambda *given: judge(*(judged.append(given) or given)))
    proof = prove(read(tmp_path, name, test_subset=subset))
    proof.require()
    _, truth, predictions, cat_ids = judged[0]
    assert analyse(truth, predictions, cat_ids).kinds['segm'].picks.values['pick score'] == 1
    claims = held(proof)
    one = subset == SUBSETS[2]
    assert claims['ground truth scores 1.000: mask mAP'] is claims['ground truth scores 1.000: box mAP'] is True
    assert claims['ids shifted by one: seen'] is claims['boxes as masks: seen'] is True
    for name in ('labels shifted by one', 'classes swapped', 'masks flattened'):
        assert claims[f'{name}: seen'] is (None if one else True)
    seen = {check.name: check.seen for check in proof.checks}['ground truth scores 1.000: mask mAP']
    assert seen == ('all 1.000, Object 1.000' + ('' if one else ', Tote 1.000'))


def test_it_shows_itself_and_becomes_json(tmp_path):
    armbench.write_all(tmp_path)
    proof = prove(read(tmp_path))
    assert 'Object is category 2, Tote is category 1' in proof.table()
    assert '4 images and 16 objects' in proof.table()
    content = json.loads(json.dumps(proof.to_dict()))
    assert content['passed'] is True
    assert content['head'] == 'Shared2FCBBoxHead, ChunkedMaskHead'
    assert content['checks'][4] == {
        'name': 'ground truth scores 1.000: box mAP',
        'passed': True,
        'seen': 'all 1.000, Object 1.000, Tote 1.000',
    }


def failing(proof):
    assert not proof.passed
    with pytest.raises(ProofError, match='the evaluation does not prove itself') as caught:
        proof.require()
    return str(caught.value)


def test_mmdetections_order_of_labels_fails_and_is_named(tmp_path):
    armbench.write_all(tmp_path)
    cfg = read(tmp_path)
    cfg.train_dataloader.dataset = dict(
        type='CocoDataset',
        data_root=str(tmp_path),
        ann_file='mix-object-tote/train.json',
        data_prefix=dict(img=''),
        metainfo=dict(classes=('Object', 'Tote')),
    )
    text = failing(prove(cfg))
    assert 'mix-object-tote/train.json: wrong: Object is labelled Tote, Tote is labelled Object' in text


def test_an_evaluator_that_shifts_ids_fails(tmp_path, monkeypatch):
    armbench.write_all(tmp_path)
    right = proofs.CocoInstanceMetric._category_ids
    monkeypatch.setattr(proofs.CocoInstanceMetric, '_category_ids', lambda *args: right(*args)[::-1])
    text = failing(prove(read(tmp_path)))
    assert 'ground truth scores 1.000: mask mAP: all 0.000' in text
    assert 'no fault is seen in it: swapped' in text


def test_a_head_that_loses_a_class_fails(tmp_path):
    armbench.write_all(tmp_path)
    cfg = read(tmp_path)
    cfg.model.roi_head.bbox_head.num_classes = 1
    assert 'ground truth scores 1.000: box mAP' in failing(prove(cfg))


def test_a_head_that_returns_too_few_fails(tmp_path):
    armbench.write_all(tmp_path)
    cfg = read(tmp_path, CONFIGS[2], **{'model.test_cfg.max_per_image': 2})
    assert 'ground truth scores 1.000: mask mAP' in failing(prove(cfg))


def test_masks_that_are_thrown_away_fail(tmp_path):
    armbench.write_all(tmp_path)
    cfg = read(tmp_path, **{'model.test_cfg.rcnn.mask_thr_binary': 1.5})
    assert 'ground truth scores 1.000: mask mAP: all 0.000' in failing(prove(cfg))


def test_pictures_are_drawn_by_a_seed_and_have_every_class(tmp_path):
    content = armbench.document(images=30)
    content['annotations'] = [a for a in content['annotations'] if a['category_id'] == 2 or a['image_id'] == 17]
    chosen = choose(content, 3, seed=0)
    ids = [image['id'] for image in chosen['images']]
    assert len(ids) == 3
    assert 17 in ids
    assert {a['image_id'] for a in chosen['annotations']} == set(ids)
    assert chosen['categories'] == content['categories']
    assert choose(content, 3, seed=0) == chosen
    assert [i['id'] for i in choose(content, 3, seed=1)['images']] != ids
    assert len(choose(content, 100, seed=0)['images']) == 30
    assert {a['category_id'] for a in choose(content, 1, seed=0)['annotations']} == {1, 2}


def test_without_annotations_to_train_on_it_still_proves_the_test(tmp_path):
    armbench.write(tmp_path, splits=('test',))
    proof = prove(read(tmp_path))
    assert proof.passed
    assert held(proof)['labels are the names of mix-object-tote/train.json'] is None


def test_boxes_alone_can_be_proved(tmp_path):
    armbench.write_all(tmp_path)
    proof = prove(read(tmp_path, **{'test_evaluator.metric': ['bbox']}))
    proof.require()
    assert 'ground truth scores 1.000: mask mAP' not in held(proof)
    assert held(proof)['boxes as masks: seen'] is None


def test_pictures_without_objects_and_crowds_are_no_hindrance(tmp_path):
    folder = armbench.write(tmp_path)
    content = json.loads((folder / 'test.json').read_text())
    first, second = (image['id'] for image in content['images'][:2])
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] != first]
    for annotation in content['annotations']:
        annotation['iscrowd'] = int(annotation['image_id'] == second)
        if annotation['iscrowd']:
            annotation['segmentation'] = dict(size=list(armbench.SHAPE), counts=[100, 200, 4500])
    (folder / 'test.json').write_text(json.dumps(content))
    prove(read(tmp_path)).require()


def test_without_our_evaluator_there_is_nothing_to_prove(tmp_path):
    armbench.write_all(tmp_path)
    cfg = read(tmp_path)
    cfg.test_evaluator.type = 'CocoMetric'
    with pytest.raises(EvaluationError, match='nothing to prove: test_evaluator has no CocoInstanceMetric'):
        prove(cfg)


def test_of_many_classes_those_that_fail_are_listed():
    figures = {'all': 0.9, **{f'c{number}': 1.0 for number in range(20)}, 'c3': 0.5, 'c4': -1.0}
    assert proofs._listed(figures) == 'all 0.900, c3 0.500, c4 -, 18 other classes 1.000'
    assert proofs._listed(dict.fromkeys(figures, 1.0)) == 'all 1.000, 20 classes 1.000'
    assert proofs._listed({'all': 1.0, 'Object': 1.0, 'Tote': 1.0}) == 'all 1.000, Object 1.000, Tote 1.000'


# Data that is not as it should be.


def edited(root, edit, **options):
    """The proof on annotations that were changed."""
    folder = armbench.write(root)
    content = json.loads((folder / 'test.json').read_text())
    edit(content)
    (folder / 'test.json').write_text(json.dumps(content))
    return prove(read(root, **options))


def move_over_the_edge(content):
    content['annotations'][1]['bbox'][0] = -3


def empty_mask(content):
    content['annotations'][1]['segmentation'] = []


def two_points(content):
    content['annotations'][1]['segmentation'] = [[3, 3, 9, 9]]


def speck(content):
    content['annotations'][1]['segmentation'] = [[3.1, 3.1, 3.2, 3.1, 3.2, 3.2]]


def other_size(content):
    content['annotations'][1]['segmentation'] = dict(size=[3, 3], counts=[2, 7])


@pytest.mark.parametrize('spoil', [move_over_the_edge, empty_mask, two_points, speck, other_size])
def test_an_object_that_nobody_could_find_is_named_and_spares_the_evaluation(tmp_path, spoil):
    seen = {check.name: check for check in edited(tmp_path, spoil).checks}
    assert seen['ground truth scores 1.000: box mAP'].passed
    assert seen['ground truth scores 1.000: mask mAP'].passed
    left_out = seen['all objects can be found']
    assert left_out.seen.startswith('1 can not: annotation 2 of image 9: ')
    assert left_out.seen.endswith('tools/check_dataset.py names all that is broken')
    assert left_out.passed is False  # 1 of 16 is more than one in twenty


@pytest.mark.parametrize('compressed', [True, False])
def test_masks_may_be_runs_as_text_or_as_numbers(tmp_path, compressed):
    def encode(content):
        for annotation in content['annotations']:
            rle = coco_mask.frPyObjects(annotation['segmentation'], *armbench.SHAPE)[0]
            runs = run_lengths(rle['counts'].decode())
            counts = rle['counts'].decode() if compressed else runs
            annotation['segmentation'] = dict(size=list(armbench.SHAPE), counts=counts)

    proof = edited(tmp_path, encode)
    proof.require()
    assert 'all objects can be found' not in held(proof)


def test_the_objects_that_did_not_come_back_are_named(tmp_path):
    cfg = read(armbench.write_all(tmp_path), CONFIGS[2], **{'model.test_cfg.max_per_image': 3})
    assert 'not found again: 4, such as annotation' in failing(prove(cfg))


def test_more_objects_than_coco_counts_are_called_so(tmp_path):
    def crowd(content):
        first = content['annotations'][1]
        content['annotations'] += [{**first, 'id': 1000 + number} for number in range(100)]

    proof = edited(tmp_path, crowd, **{'model.test_cfg.rcnn.max_per_img': 200})
    assert 'has more than 100 objects of a class, and COCO counts no more' in failing(proof)


def test_a_tote_and_an_object_in_the_same_place_keep_their_names(tmp_path):
    def same_place(content):
        tote, thing = content['annotations'][:2]
        thing.update({key: tote[key] for key in ('bbox', 'segmentation', 'area')})

    edited(tmp_path, same_place).require()


@pytest.mark.parametrize(
    ('key', 'part'), [('area', 'annotations'), ('bbox', 'annotations'), ('height', 'images'), ('name', 'categories')]
)
def test_annotations_that_lack_something_are_one_sentence(tmp_path, key, part):
    with pytest.raises(DatasetError, match=f'test.json can not be loaded: .*no {key}; tools/check_dataset.py names'):
        edited(tmp_path, lambda content: content[part][0].pop(key))


def test_a_file_without_objects_is_one_sentence(tmp_path):
    with pytest.raises(EvaluationError, match='test.json has no annotations'):
        edited(tmp_path, lambda content: content['annotations'].clear())


def test_a_training_set_that_can_not_be_loaded_is_named_by_its_own_path(tmp_path):
    folder = armbench.write(tmp_path)
    content = json.loads((folder / 'train.json').read_text())
    content['annotations'][1]['id'] = content['annotations'][0]['id']
    (folder / 'train.json').write_text(json.dumps(content))
    text = failing(prove(read(tmp_path)))
    assert f'{folder}/train.json can not be loaded' in text
    assert 'another annotation has this id' in text
    assert '/labels.json' not in text


# Heads and metrics.


def test_heads_for_another_number_of_classes_fail(tmp_path):
    armbench.write_all(tmp_path)
    heads = {f'model.roi_head.{head}.num_classes': 80 for head in ('bbox_head', 'mask_head')}
    text = failing(prove(read(tmp_path, **heads)))
    assert 'heads have as many classes as the data, 2: Shared2FCBBoxHead 80, ChunkedMaskHead 80' in text


def test_a_cascade_is_proved_through_its_last_stage(tmp_path):
    armbench.write_all(tmp_path)
    cfg = read(tmp_path)
    cfg.model.roi_head.bbox_head = [dict(cfg.model.roi_head.bbox_head, num_classes=7), cfg.model.roi_head.bbox_head]
    prove(cfg).require()


def test_a_detector_of_boxes_is_proved_on_boxes_also_without_segmentations(tmp_path):
    def without(content):
        for annotation in content['annotations']:
            del annotation['segmentation']

    options = {'model.roi_head.mask_head': None, 'test_evaluator.metric': 'bbox'}
    edited(tmp_path, without, **options).require()
    with pytest.raises(EvaluationError, match='Shared2FCBBoxHead makes no masks: measure bbox alone'):
        prove(read(tmp_path, **{'model.roi_head.mask_head': None}))


def test_another_detector_is_proved_from_its_results_on(tmp_path):
    armbench.write_all(tmp_path)
    cfg = read(tmp_path)
    cfg.model = dict(type='RTMDet', bbox_head=dict(type='RTMDetInsHead'))
    proof = prove(cfg)
    proof.require()
    assert proof.head == 'RTMDet, from its results on'
    assert held(proof)['heads have as many classes as the data, 2'] is None


def test_proposals_have_nothing_to_prove(tmp_path):
    armbench.write_all(tmp_path)
    with pytest.raises(EvaluationError, match='nothing to prove: proposals'):
        prove(read(tmp_path, **{'test_evaluator.metric': ['proposal']}))
