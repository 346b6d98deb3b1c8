"""Heads for other classes than those of the data are refused, and evaluations of other pictures than were tested."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmdet.datasets import CocoDataset
from mmdet.evaluation import MultiDatasetsEvaluator
from mmengine.dataset import ConcatDataset, DefaultSampler
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import DataLoader

from damamba.cli import test as test_command
from damamba.cli import train as train_command
from damamba.datasets.left_out import CROWD, EMPTY, OBJECTS
from damamba.engine.config_checks import ConfigError
from damamba.engine.hooks import GroundTruthHook
from damamba.evaluation.metric import CocoInstanceMetric
from damamba.evaluation.results import EvaluationError
from tests.evaluation.detector import CLASSES, Detector, write_detector


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        (
            'model.roi_head.mask_head.num_classes=7',
            r'`num_classes` \(7\) in ChunkedMaskHead .*`classes` 80\) in NamedCocoDataset',
        ),
        (
            'train_dataloader.dataset.metainfo.classes=("person","car")',
            r'\(80\) in .*Head .*`classes` 2\) in NamedCocoDataset',
        ),
    ],
)
def test_heads_for_another_number_of_classes_are_refused_before_an_epoch_is_spent(
    small_config, tmp_path, option, message
):
    with pytest.raises(ConfigError, match=message):
        train_command.train([str(small_config), '--work-dir', str(tmp_path), '--cfg-options', option])
    assert not list(tmp_path.glob('*.pth'))


@DATA_SAMPLERS.register_module()
class EveryOther(DefaultSampler):
    def __iter__(self):
        return iter(range(0, len(self.dataset), 2))


@pytest.fixture(scope='module')
def detector(tmp_path_factory) -> Detector:
    return write_detector(tmp_path_factory.mktemp('detector'))


def run_test(detector: Detector, folder: Path, *options: str, flags: Sequence[str] = ()) -> dict:
    """What metrics.json says of a test."""
    argv = [str(detector.config), str(detector.checkpoint), '--work-dir', str(folder), '--eval', 'bbox', 'segm', *flags]
    test_command.test([*argv, *(['--cfg-options', *options] if options else [])])
    return json.loads((folder / 'metrics.json').read_text())


def spoilt(detector: Detector, path: Path, **marks) -> str:
    """The annotations, with marks on every object."""
    truth = json.loads(detector.annotations.read_text())
    truth['annotations'] = [{**annotation, **marks} for annotation in truth['annotations']]
    path.write_text(json.dumps(truth))
    return str(path)


def test_a_part_of_the_pictures_is_proved_and_measured_as_that_part(detector, tmp_path):
    content = run_test(detector, tmp_path, 'test_dataloader.dataset.indices=4', flags=['--prove'])
    evaluation, truth = content['evaluations']['coco'], json.loads(detector.annotations.read_text())
    ids = {image['id'] for image in truth['images'][:4]}
    objects = sum(annotation['image_id'] in ids for annotation in truth['annotations'])
    assert (evaluation['images'], evaluation['objects']) == (4, objects)
    assert (content['proof']['images'], content['proof']['objects']) == (4, objects)
    whole = run_test(detector, tmp_path / 'whole')['evaluations']['coco']
    assert (whole['images'], whole['objects']) == (14, len(truth['annotations']))


def test_the_first_batches_are_measured_as_these(detector, tmp_path):
    options = ['test_dataloader.num_batch_per_epoch=5', 'test_dataloader.batch_size=2']
    content = run_test(detector, tmp_path, *options)
    part = run_test(detector, tmp_path / 'part', 'test_dataloader.dataset.indices=10')
    assert content['evaluations'] == part['evaluations'] and content['evaluations']['coco']['images'] == 10


def test_a_test_that_leaves_out_pictures_has_no_figures(detector, tmp_path):
    sampler = 'test_dataloader.sampler.type=EveryOther'
    with pytest.raises(EvaluationError, match='7 of the 14 pictures of the ground truth were not tested'):
        run_test(detector, tmp_path, sampler)
    assert not list(tmp_path.rglob('metrics.json'))


def test_pictures_of_another_size_than_the_annotations_say_have_no_figures(detector, tmp_path):
    truth = json.loads(detector.annotations.read_text())
    truth['images'][3]['width'] *= 2
    (tmp_path / 'wide.json').write_text(json.dumps(truth))
    argv = [str(detector.config), str(detector.checkpoint), '--work-dir', str(tmp_path), '--eval', 'bbox']
    options = ['--cfg-options', f'test_dataloader.dataset.ann_file={tmp_path}/wide.json']
    with pytest.raises(EvaluationError, match=f'image {truth["images"][3]["id"]}: '):
        test_command.test([*argv, *options])


def test_an_evaluator_with_other_annotations_is_refused(detector, tmp_path):
    other = spoilt(detector, tmp_path / 'other.json', area=1.0)
    with pytest.raises(EvaluationError, match='other.json, is not what is tested'):
        run_test(detector, tmp_path, f'test_evaluator.ann_file={other}')
    assert not list(tmp_path.glob('metrics.json'))


@pytest.mark.parametrize('marks', [dict(iscrowd=1), dict(segmentation=[])], ids=['crowds', 'no masks'])
def test_a_training_whose_validation_can_not_end_well_does_not_begin(detector, tmp_path, marks):
    option = f'val_dataloader.dataset.ann_file={spoilt(detector, tmp_path / "val.json", **marks)}'
    with pytest.raises(EvaluationError, match='val.json'):
        train_command.train([str(detector.config), '--work-dir', str(tmp_path / 'run'), '--cfg-options', option])
    assert not list((tmp_path / 'run').glob('*.pth'))
    assert not list((tmp_path / 'run').glob('*/vis_data/scalars.json'))


UNMEASURED = {  # what stops an evaluation after the first epoch, if nobody looks
    'best': ('default_hooks.checkpoint.save_best=coco/segm_mAp', 'not measure coco/segm_mAp; is coco/segm_mAP meant'),
    'items': ('val_evaluator.metric_items=[mAp]', 'metric_items does not know mAp'),
    'the rest': ('+val_dataloader.drop_last=True', 'drop_last leaves 2 of 14 pictures untested: drop_last=False'),
}


@pytest.mark.parametrize('what', UNMEASURED)
def test_a_validation_without_the_figures_that_are_wanted_does_not_begin(detector, tmp_path, what):
    option, text = UNMEASURED[what]
    command = [
        str(detector.config),
        '--work-dir',
        str(tmp_path),
        '--cfg-options',
        'val_dataloader.batch_size=4',
        option,
    ]
    with pytest.raises((ConfigError, EvaluationError), match=text):
        train_command.train(command)
    assert not list(tmp_path.glob('*.pth'))


def test_of_several_data_sets_each_evaluator_gets_its_own(detector):
    """MMDetection's MultiDatasetsEvaluator."""
    meta = dict(classes=CLASSES)
    options = dict(metainfo=meta, data_prefix=dict(img=''), pipeline=[], test_mode=True)
    parts = [CocoDataset(ann_file=str(detector.annotations), indices=count, **options) for count in (4, 10)]
    metrics = [CocoInstanceMetric(metric='bbox') for _ in parts]
    for metric in metrics:
        metric.dataset_meta = meta
    loader = DataLoader(ConcatDataset(parts), batch_size=1)
    loop = SimpleNamespace(evaluator=MultiDatasetsEvaluator(metrics, ('a', 'b')), dataloader=loader)
    GroundTruthHook().before_val(SimpleNamespace(val_loop=loop))
    assert [len(metric.tested.document['images']) for metric in metrics] == [4, 10]


@pytest.mark.parametrize(
    ('marks', 'text'),
    [
        (dict(ignore=1), r'nothing to learn: 4 of 4 objects are not learned: 4 are marked "ignore"'),
        (dict(iscrowd=1), r'nothing to learn: 4 of 4 objects are not learned: 4 are crowds'),
        (dict(area=0), r'nothing to learn: 4 of 4 objects are not learned: 4 have no area'),
    ],
)
def test_a_training_that_would_learn_nothing_does_not_begin(detector, tmp_path, marks, text):
    train = json.loads((detector.data_root / 'annotations/instances_train2017.json').read_text())
    train['annotations'] = [{**annotation, **marks} for annotation in train['annotations']]
    (tmp_path / 'train.json').write_text(json.dumps(train))
    options = [f'train_dataloader.dataset.ann_file={tmp_path}/train.json', 'train_dataloader.dataset.filter_cfg=None']
    with pytest.raises(ConfigError, match=text):
        train_command.train([str(detector.config), '--work-dir', str(tmp_path / 'run'), '--cfg-options', *options])


def test_what_is_left_out_is_counted_and_said(detector, tmp_path):
    truth = json.loads(detector.annotations.read_text())
    for annotation, mark in zip(truth['annotations'], ('ignore', 'ignore', 'iscrowd'), strict=False):
        annotation[mark] = 1
    (tmp_path / 'val.json').write_text(json.dumps(truth))
    image, annotation = truth['images'][0], truth['annotations'][-1]
    truth['images'] += [image | dict(id=10**6, width=31), image | dict(id=10**6 + 1, file_name='empty.jpg')]
    truth['annotations'].append(annotation | dict(id=10**9, image_id=10**6))
    (tmp_path / 'train.json').write_text(json.dumps(truth))
    options = [f'{split}_dataloader.dataset.ann_file={tmp_path}/{split}.json' for split in ('train', 'val')]
    options += [f'{split}_dataloader.dataset.data_prefix.img=val2017' for split in ('train', 'val')]
    options.append('train_dataloader.dataset.filter_cfg.min_size=32')
    train_command.train([str(detector.config), '--work-dir', str(tmp_path / 'run'), '--cfg-options', *options])
    text = next((tmp_path / 'run').glob('*/*.log')).read_text()
    said = [line for line in text.splitlines() if 'are not' in line]
    objects = (
        '4 of 29 objects are not learned: 2 are marked "ignore", 1 are crowds, '
        '1 lie in pictures that have less than 32 pixels a side'
    )
    pictures = '2 of 16 pictures are not trained on: 1 have less than 32 pixels a side, 1 have no objects'
    for found in (objects, pictures):
        assert f'WARNING - {tmp_path}/train.json: {found}; MMDetection leaves them out' in text, said
    evaluated = '2 of 28 objects are not learned: 2 are marked "ignore"'
    assert f'WARNING - {tmp_path}/val.json: {evaluated}; the evaluation counts them' in text, said


def test_crowds_and_pictures_without_objects_are_no_reason_for_a_warning():
    said = []
    logger = SimpleNamespace(info=lambda *_: said.append('info'), warning=lambda *_: said.append('warning'))
    for reasons in ([None, CROWD], [EMPTY], [None], [CROWD, 'have no area']):
        GroundTruthHook()._say(SimpleNamespace(logger=logger), ['a.json'], OBJECTS, reasons, 'so it is')
    assert said == ['info', 'info', 'warning']
