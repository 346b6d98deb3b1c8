"""The ground truth is that of the pictures that are tested, however a data set is cut, wrapped and put together."""

import copy
import json
import re
from pathlib import Path

import pytest
from mmdet.datasets import CocoDataset, CocoPanopticDataset
from mmdet.datasets import ConcatDataset as MMDetConcat
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset
from torch.utils.data import ConcatDataset as TorchConcat
from torch.utils.data import Subset

from damamba.datasets.named import NamedCocoDataset
from damamba.evaluation.metric import CocoInstanceMetric
from damamba.evaluation.results import EvaluationError
from damamba.evaluation.tested import locate, read_tested
from tests.evaluation.helpers import guesses, judged, made_up
from tests.evaluation.test_metric import CLASSES, bare, evaluated, samples

HALF = [0, 2, 3, 5, 8, 11, 13]


def write(path: Path, truth: dict) -> str:
    path.write_text(json.dumps(truth))
    return str(path)


def dataset(ann_file: str, pictures: str = 'images', kind=CocoDataset, **options):
    settings = dict(data_prefix=dict(img=pictures), metainfo=dict(classes=CLASSES), pipeline=[], test_mode=True)
    return kind(ann_file=ann_file, **{**settings, **options})


def part(truth: dict, places: list[int]) -> dict:
    images = [truth['images'][place] for place in places]
    ids = {image['id'] for image in images}
    return {**truth, 'images': images, 'annotations': [a for a in truth['annotations'] if a['image_id'] in ids]}


def measured(data, truth: dict, places: list[int] | None = None, **options) -> dict:
    """What the metric makes of guesses about the pictures of a data set at these places of a truth."""
    metric = CocoInstanceMetric(metric=['bbox', 'segm'], **options)
    metric.dataset_meta = data.metainfo if hasattr(data, 'metainfo') else dict(classes=CLASSES)
    metric.use(data)
    chosen = truth if places is None else part(truth, places)
    found = [guess for guess in guesses(truth) if guess['image_id'] in {image['id'] for image in chosen['images']}]
    values = bare(evaluated(metric, samples(chosen, found)))
    return values, metric.evaluation


@pytest.fixture(scope='module')
def truth() -> dict:
    return made_up()


@pytest.fixture
def ann_file(tmp_path, truth) -> str:
    return write(tmp_path / 'truth.json', truth)


CUTS = {
    'indices': lambda file: dataset(file, indices=HALF),
    'by name': lambda file: dataset(file, kind=NamedCocoDataset, indices=HALF),
    'the first, by their number': lambda file: dataset(file, indices=7),
    'a subset': lambda file: Subset(dataset(file), HALF),
    'from the end': lambda file: Subset(
        MMDetConcat([dataset(file, indices=HALF[:3]), dataset(file, indices=HALF[3:])]), range(-1, -8, -1)
    ),
    'a subset twice over': lambda file: Subset(RepeatDataset(dataset(file), 2), [*HALF, *(14 + k for k in HALF)]),
    'repeated': lambda file: RepeatDataset(dataset(file, indices=HALF), 3),
    'balanced': lambda file: ClassBalancedDataset(dataset(file, indices=HALF), 0.9),
    'parts': lambda file: MMDetConcat([dataset(file, indices=HALF[:3]), dataset(file, indices=HALF[3:])]),
    'parts that overlap': lambda file: ConcatDataset([dataset(file, indices=HALF), dataset(file, indices=HALF[2:])]),
    "torch's parts": lambda file: TorchConcat([dataset(file, indices=HALF[:1]), Subset(dataset(file), HALF[1:])]),
    'no pictures without objects of a size': lambda file: dataset(
        file, test_mode=False, filter_cfg=dict(filter_empty_gt=True)
    ),
}


@pytest.mark.parametrize('cut', CUTS)
def test_figures_are_of_the_pictures_that_are_tested(cut, truth, ann_file):
    places = {'the first, by their number': list(range(7)), 'no pictures without objects of a size': list(range(13))}
    places = places.get(cut, HALF)
    values, evaluation = measured(CUTS[cut](ann_file), truth, places)
    chosen = part(truth, places)
    found = [guess for guess in guesses(truth) if guess['image_id'] in {image['id'] for image in chosen['images']}]
    assert evaluation.images == len(places)
    assert evaluation.objects == sum(not a['iscrowd'] for a in chosen['annotations'])
    for kind in ('bbox', 'segm'):
        assert values[f'{kind}_mAP'] == pytest.approx(judged(chosen, found, kind).stats[0], abs=1e-9)


@pytest.mark.parametrize('places', [[0], HALF])
def test_a_picture_that_was_not_tested_is_an_error(places, truth, ann_file):
    metric = CocoInstanceMetric(metric='bbox')
    metric.dataset_meta = dict(classes=CLASSES)
    metric.use(dataset(ann_file, indices=HALF))
    fed = samples(part(truth, places[:-1] or [1]), [])
    with pytest.raises(EvaluationError, match='of the 7 pictures of the ground truth were not tested'):
        evaluated(metric, fed, size=7)


def test_pictures_of_two_files_with_equal_ids_are_told_apart_by_their_paths(tmp_path, truth):
    """Both have ids from 11 on; together they are what one file with other ids for the second is."""
    other = made_up(seed=5)
    data = ConcatDataset(
        [dataset(write(tmp_path / 'a.json', truth), 'a'), dataset(write(tmp_path / 'b.json', other), 'b')]
    )
    metric = CocoInstanceMetric(metric=['bbox', 'segm'])
    metric.dataset_meta = dict(classes=CLASSES)
    metric.use(data)
    fed = [{**s, 'img_path': f'a/{s["img_id"]}.jpg'} for s in samples(truth, guesses(truth))]
    fed += [{**s, 'img_path': f'b/{s["img_id"]}.jpg'} for s in samples(other, guesses(other, seed=3))]
    values = bare(evaluated(metric, fed))
    moved = renumbered(other['images'], 'id'), renumbered(other['annotations'], 'image_id')
    both = {
        **truth,
        'images': truth['images'] + moved[0],
        'annotations': [{**a, 'id': k} for k, a in enumerate(truth['annotations'] + moved[1], 1)],
    }
    found = guesses(truth) + renumbered(guesses(other, seed=3), 'image_id')
    assert metric.evaluation.images == 28
    for kind in ('bbox', 'segm'):
        assert values[f'{kind}_mAP'] == pytest.approx(judged(both, found, kind).stats[0], abs=1e-9)
    with pytest.raises(EvaluationError, match="'img_path' among its meta_keys"):
        metric.process({}, samples(truth, []))


def renumbered(entries: list[dict], key: str) -> list[dict]:
    return [{**entry, key: entry[key] + 1000} for entry in entries]


def without_masks(truth: dict, category: int) -> dict:
    return {
        **truth,
        'annotations': [
            {k: v for k, v in a.items() if k != 'segmentation' or a['category_id'] != category}
            for a in truth['annotations']
        ],
    }


UNUSABLE = {  # what is done to a truth, and what is said of it
    'all are crowds': (lambda t: marked(t, iscrowd=1), r'nothing to find: all \d+ objects of its classes are crowds'),
    'no object': (lambda t: {**t, 'annotations': []}, 'nothing to find: it has no object of the classes'),
    'no mask': (lambda t: without_masks(t, 5), r'\d+ of \d+ objects have no segmentation, such as annotation \d+'),
    'texts for ids of images': (lambda t: texts(t, ('images', 'id'), ('annotations', 'image_id')), "has id '11'"),
    'texts for categories': (lambda t: texts(t, ('annotations', 'category_id')), r"has category_id '\d', not a whole"),
    'one text for an image': (lambda t: one(t, image_id='11'), r"annotations\[1\] \(id 2\) has image_id '11', not"),
    'a text for a crowd': (lambda t: one(t, iscrowd='0'), r"annotations\[1\] \(id 2\) has iscrowd '0', not 0 or 1"),
    'NaN for a box': (lambda t: one(t, bbox=[float('nan')] * 4), r'\(id 2\) has bbox \[nan, .*, not four finite'),
    'a list of RLE': (lambda t: one(t, segmentation=[RLE], iscrowd=0), 'annotation 2 of .*makes no mask'),
    'RLE of another size': (lambda t: one(t, segmentation={**RLE, 'size': [240, 321]}), 'annotation 2 of .*no mask'),
    'two images of one id': (lambda t: {**t, 'images': [*t['images'], t['images'][3]]}, 'two images have the id 14'),
}  # fmt: skip


RLE = {'size': [240, 320], 'counts': [0, 240 * 320]}


def one(truth: dict, **marks) -> dict:
    first, second, *others = truth['annotations']
    return {**truth, 'annotations': [first, {**second, **marks}, *others]}


def marked(truth: dict, **marks) -> dict:
    return {**truth, 'annotations': [{**a, **marks} for a in truth['annotations']]}


def texts(truth: dict, *where: tuple[str, str]) -> dict:
    changed = copy.deepcopy(truth)
    for section, key in where:
        for entry in changed[section]:
            entry[key] = str(entry[key])
    return changed


@pytest.mark.parametrize('what', UNUSABLE)
def test_an_evaluation_that_can_not_end_well_does_not_begin(what, truth, tmp_path):
    spoil, text = UNUSABLE[what]
    file = write(tmp_path / 'spoilt.json', spoil(truth))
    data = dataset(file)
    metric = CocoInstanceMetric(metric=['bbox', 'segm'])
    metric.dataset_meta = data.metainfo
    with pytest.raises(EvaluationError, match=text) as caught:
        metric.use(data)
    assert file in str(caught.value)


def test_results_of_pictures_whose_annotations_others_keep_are_written(truth, tmp_path):
    data = dataset(write(tmp_path / 'test-dev.json', {k: v for k, v in truth.items() if k != 'annotations'}))
    metric = CocoInstanceMetric(metric=['bbox', 'segm'], format_only=True, outfile_prefix=str(tmp_path / 'results'))
    metric.dataset_meta = data.metainfo
    metric.use(data)
    assert evaluated(metric, samples(truth, guesses(truth))) == {}
    assert len(json.loads((tmp_path / 'results.segm.json').read_text())) == len(guesses(truth))


def test_what_nobody_asked_for_may_be_as_it_likes(truth, tmp_path):
    data = dataset(write(tmp_path / 'truth.json', without_masks(truth, 5)), metainfo=dict(classes=('cup', 'red box')))
    metric = CocoInstanceMetric(metric=['bbox', 'segm'])
    metric.dataset_meta = data.metainfo
    metric.use(data)
    evaluated(metric, samples({**truth, 'images': truth['images']}, []))
    assert metric.evaluation.objects == sum(a['category_id'] != 5 and not a['iscrowd'] for a in truth['annotations'])


def test_an_annotation_file_of_the_evaluator_is_held_against_the_data_sets(truth, ann_file, tmp_path):
    data = dataset(ann_file, indices=HALF)
    same = write(tmp_path / 'copy.json', {**truth, 'info': {'description': 'a copy'}})
    for path in (ann_file, same):
        assert measured(data, truth, HALF, ann_file=path)[1].images == 7
    fewer = write(tmp_path / 'half.json', part(truth, HALF))
    for given, tested in ((fewer, dataset(ann_file)), (ann_file, dataset(fewer)), (fewer, data)):
        metric = CocoInstanceMetric(ann_file=given, metric='bbox')
        metric.dataset_meta = tested.metainfo
        with pytest.raises(
            EvaluationError, match=f'ann_file, {re.escape(given)}, is not what is tested.*Leave ann_file out'
        ):
            metric.use(tested)


def test_files_with_other_categories_do_not_share_an_evaluation(truth, ann_file, tmp_path):
    other = {**truth, 'categories': [{'id': c['id'], 'name': c['name'].upper()} for c in truth['categories']]}
    parts = [
        dataset(ann_file, kind=NamedCocoDataset),
        dataset(write(tmp_path / 'b.json', other), kind=NamedCocoDataset),
    ]
    with pytest.raises(EvaluationError, match='have different categories'):
        read_tested(TorchConcat(parts))


def test_segments_beside_objects_are_left_to_their_own_evaluator(truth, ann_file, tmp_path):
    """As in MMDetection's panoptic configs: the objects are in the evaluator's file, and every picture is in both."""
    segments = {
        **truth,
        'annotations': [dict(image_id=i['id'], file_name='x.png', segments_info=[]) for i in truth['images']],
    }
    data = dataset(
        write(tmp_path / 'panoptic.json', segments),
        kind=CocoPanopticDataset,
        metainfo=dict(classes=CLASSES, thing_classes=CLASSES, stuff_classes=()),
    )
    metric = CocoInstanceMetric(ann_file=ann_file, metric=['bbox', 'segm'])
    metric.dataset_meta = dict(classes=CLASSES)
    metric.use(data)
    assert metric.tested is None
    evaluated(metric, samples(truth, guesses(truth)))
    assert metric.evaluation.images == len(truth['images'])


class Sieve:
    """A wrapper that does not tell."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return 3


def test_a_wrapper_that_hides_its_pictures_is_refused(ann_file):
    with pytest.raises(EvaluationError, match='a Sieve does not tell which pictures it gives'):
        locate(Sieve(dataset(ann_file)), 0)
