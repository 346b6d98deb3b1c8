"""The same few pictures of every test: which ones, what lies beside them, and that figures never depend on them."""

import copy
import json
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle

from damamba.cli import test as test_command
from damamba.engine.examples import ExamplesHook, choose
from damamba.evaluation.coco_ap import ground_truth
from tests.evaluation.detector import PICTURES, Detector, write_detector
from tests.evaluation.helpers import SIZE, guesses, made_up
from tests.evaluation.test_metric import metric, samples
from tests.evaluation.test_ranks import forked, no_gpu


def truth_of(counts: dict[int, int], crowds: dict[int, int] | None = None) -> dict:
    """Pictures by their ids, with so many objects and so many crowds."""
    pairs = [(counts, 0), (crowds or {}, 1)]
    annotations = [
        dict(id=0, image_id=i, category_id=1, bbox=[0, 0, 2, 2], area=4, iscrowd=crowd)
        for numbers, crowd in pairs
        for i, number in numbers.items()
        for _ in range(number)
    ]
    images = [dict(id=i, file_name=f'{i}.jpg', height=9, width=9) for i in counts]
    return dict(images=images, annotations=annotations, categories=[dict(id=1, name='cup')])


# Which ones.


def test_pictures_are_spread_over_the_numbers_of_objects():
    counts = {number: number for number in range(1, 13)}
    assert choose(ground_truth(truth_of(counts))) == [2, 4, 6, 8, 10, 12]  # the upper one of each pair
    assert choose(ground_truth(truth_of({i: 13 - i for i in counts}))) == [11, 9, 7, 5, 3, 1]
    assert choose(ground_truth(truth_of(counts)), count=2) == [4, 10]


def test_equal_numbers_go_by_id_whatever_the_order_of_the_file():
    counts = {9: 1, 3: 1, 7: 1, 5: 1, 1: 2, 8: 2, 2: 1}
    assert choose(ground_truth(truth_of(counts))) == [2, 3, 5, 9, 1, 8]  # of 2 3 5 7 9 1 8, all but the middle
    document = truth_of(counts)
    for part in ('images', 'annotations'):
        document[part].reverse()
    assert choose(ground_truth(document)) == choose(ground_truth(truth_of(counts)))


def test_crowds_are_no_objects_and_pictures_without_objects_come_where_others_are_few():
    crowds = {20: 50, 21: 50}
    counts = {**dict.fromkeys(range(1, 7), 1), 20: 0, 21: 0}
    assert choose(ground_truth(truth_of(counts, crowds))) == [1, 2, 3, 4, 5, 6]
    assert choose(ground_truth(truth_of({5: 0, 4: 3, 3: 0, 2: 1, 1: 0}))) == [1, 3, 5, 2, 4]
    assert choose(ground_truth(truth_of(dict.fromkeys(range(9), 0)))) == [0, 1, 2, 3, 4, 5]


# A real test.


@pytest.fixture(scope='module')
def detector(tmp_path_factory) -> Detector:
    return write_detector(tmp_path_factory.mktemp('detector'))


def run(detector: Detector, folder: Path, *flags: str) -> None:
    test_command.test([str(detector.config), str(detector.checkpoint), '--work-dir', str(folder), *flags])


@pytest.fixture(scope='module')
def tested(detector, tmp_path_factory) -> Path:
    """The work folder of a test that wrote all predictions too; an earlier test had left more examples there."""
    folder = tmp_path_factory.mktemp('tested')
    (folder / 'examples').mkdir()
    for name in ('examples/6.jpg', 'examples/mine.jpg', 'examples.json'):
        (folder / name).write_text('old')
    run(detector, folder, '--eval', 'bbox', 'segm', '--eval-options', f'outfile_prefix={folder}/results')
    return folder


def read(folder: Path) -> dict:
    return json.loads((folder / 'examples.json').read_text())


def test_a_test_leaves_six_pictures_and_what_is_in_them(tested, detector):
    content, truth = read(tested), json.loads(detector.annotations.read_text())
    assert content['dataset'] == json.loads((tested / 'metrics.json').read_text())['dataset']
    assert content['categories'] == [{'id': c['id'], 'name': c['name']} for c in truth['categories']]
    assert [image['id'] for image in content['images']] == [2, 4, 6, 9, 11, 13]  # of 14, all with two objects
    for image in content['images']:
        picture = cv2.imread(str(detector.data_root / 'val2017' / image['file_name'])).astype(int)
        copied = cv2.imread(str(tested / image['picture'])).astype(int)
        assert copied.shape == picture.shape == (image['height'], image['width'], 3)
        assert np.abs(copied - picture).mean() < np.abs(copied - picture[::-1]).mean() / 3
        own = [a for a in truth['annotations'] if a['image_id'] == image['id']]
        for mine, theirs in zip(image['annotations'], own, strict=True):
            polygon = rle.merge(rle.frPyObjects(theirs['segmentation'], *picture.shape[:2]))
            assert (rle.decode(mine['segmentation']) == rle.decode(polygon)).all()
            assert all(mine[key] == theirs[key] for key in ('bbox', 'category_id', 'iscrowd'))


def test_predictions_are_those_that_were_scored_from_the_likely_ones_down(tested):
    results = json.loads((tested / 'results.segm.json').read_text())
    for image in read(tested)['images']:
        own = [e for e in results if e['image_id'] == image['id'] and e['score'] >= 0.05]
        own.sort(key=lambda e: -e['score'])
        assert own and len(image['predictions']) == len(own)
        for mine, theirs in zip(image['predictions'], own, strict=True):
            assert mine['bbox'] == pytest.approx(theirs['bbox'], abs=0.005)
            assert all(mine[key] == theirs[key] for key in ('score', 'category_id', 'segmentation'))


def test_what_an_earlier_test_left_is_replaced_and_nothing_else(tested):
    assert sorted(path.name for path in (tested / 'examples').iterdir()) == [
        *(f'{i}.jpg' for i in range(6)),
        'mine.jpg',
    ]


@no_gpu
def test_several_processes_leave_what_one_does(tested, detector, tmp_path):
    forked(tmp_path, detector, 2)
    assert read(tmp_path / '2') == read(tested)
    assert json.loads((tmp_path / '2' / 'metrics.json').read_text())['processes'] == 2
    (record,) = (tmp_path / '2').glob('*/run.json')
    assert json.loads(record.read_text())['processes'] == 2


# By hand: no detector runs.


class Pictures:
    """A data set of files."""

    def __init__(self, folder: Path, ids: list[int]):
        self.folder, self.ids = folder, ids

    def __len__(self) -> int:
        return len(self.ids)

    def get_data_info(self, index: int) -> dict:
        return dict(img_id=self.ids[index], img_path=str(self.folder / f'{self.ids[index]}.jpg'))


@pytest.fixture
def pictures(tmp_path) -> Pictures:
    (tmp_path / 'pictures').mkdir()
    rng = np.random.default_rng(0)
    ids = [image['id'] for image in made_up()['images']]
    for number in ids:
        picture = rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
        assert cv2.imwrite(str(tmp_path / 'pictures' / f'{number}.jpg'), picture)
    return Pictures(tmp_path / 'pictures', ids)


def leave(folder: Path, evaluator, pictures, fed: list[dict], hook: str = 'after_test_epoch') -> list[dict]:
    """Test, as the runner does; return the images of examples.json, none where there is no such file."""
    loop = SimpleNamespace(
        evaluator=SimpleNamespace(metrics=[SimpleNamespace(), evaluator], dataset_meta=evaluator.dataset_meta),
        dataloader=SimpleNamespace(dataset=pictures),
    )
    cfg = SimpleNamespace(test_evaluator=None)
    (folder / 'now').mkdir(exist_ok=True)
    folders = dict(work_dir=str(folder), log_dir=str(folder / 'now'))
    runner = SimpleNamespace(**folders, logger=logging.getLogger('run'), cfg=cfg, test_loop=loop)
    examples = ExamplesHook()
    examples.before_test_epoch(runner)
    for sample in fed:
        evaluator.process({}, [copy.deepcopy(sample)])
    getattr(examples, hook)(runner, evaluator.evaluate(len(fed)))
    return read(folder)['images'] if (folder / 'examples.json').exists() else []


def metric_of(folder: Path, document: dict, kinds=('bbox', 'segm')):
    (folder / 'truth.json').write_text(json.dumps(document))
    return metric(str(folder / 'truth.json'), kinds)


def test_crowds_and_masks_of_every_kind_are_there(pictures, tmp_path):
    document = made_up()
    images = leave(tmp_path, metric_of(tmp_path, document), pictures, samples(document, guesses(document)))
    assert [image['id'] for image in images] == choose(ground_truth(document))
    kinds = set()
    for image in images:
        own = [a for a in document['annotations'] if a['image_id'] == image['id']]
        for mine, theirs in zip(image['annotations'], own, strict=True):
            kinds.add((type(theirs['segmentation']), mine['iscrowd']))
            assert mine['iscrowd'] == theirs['iscrowd'] and mine['segmentation']['size'] == list(SIZE)
            assert rle.area(mine['segmentation']) == theirs['area'] and isinstance(mine['segmentation']['counts'], str)
    assert kinds == {(list, 0), (dict, 0), (dict, 1)}


def test_boxes_alone_have_no_masks(pictures, tmp_path):
    document = made_up()
    for annotation in document['annotations']:
        annotation['segmentation'] = []
    fed = samples(document, guesses(document))
    for sample in fed:
        del sample['pred_instances']['masks']
    images = leave(tmp_path, metric_of(tmp_path, document, ['bbox']), pictures, fed)
    entries = [entry for image in images for key in ('annotations', 'predictions') for entry in image[key]]
    assert len(images) == 6 and len(entries) > 20 and not any('segmentation' in entry for entry in entries)


def test_classes_that_are_found_by_name_keep_the_ids_of_the_ground_truth(pictures, tmp_path):
    document = made_up()
    evaluator = metric_of(tmp_path, document)
    plain = leave(tmp_path, evaluator, pictures, samples(document, guesses(document)))
    evaluator = metric_of(tmp_path, document)
    evaluator.dataset_meta = dict(classes=('Red box', 'saucer', 'KEY', 'Cup'), by_name=True)
    fed = samples(document, guesses(document))
    for sample in fed:
        labels = sample['pred_instances']['labels']
        labels.copy_(labels.new_tensor([3, 2, 0])[labels])  # of cup, key, red box
    images = leave(tmp_path, evaluator, pictures, fed)
    assert [image['predictions'] for image in images] == [image['predictions'] for image in plain]
    assert {c['id']: c['name'] for c in read(tmp_path)['categories']} == {2: 'Cup', 5: 'KEY', 9: 'Red box'}


def test_a_test_set_without_annotations_shows_predictions(pictures, tmp_path):
    document = made_up()
    fed = samples(document, guesses(document))
    del document['annotations']
    images = leave(tmp_path, metric_of(tmp_path, document), pictures, fed)
    assert [image['id'] for image in images] == pictures.ids[:6]
    assert not any(image['annotations'] for image in images) and any(image['predictions'] for image in images)


def test_ground_truth_that_comes_with_the_samples_serves_too(pictures, tmp_path):
    document = made_up()
    fed = samples(document, guesses(document))
    for sample in fed:
        own = [a for a in document['annotations'] if a['image_id'] == sample['img_id']]
        corners = [[a['bbox'][0], a['bbox'][1], a['bbox'][0] + a['bbox'][2], a['bbox'][1] + a['bbox'][3]] for a in own]
        sample['instances'] = [
            dict(bbox=box, bbox_label=(2, 5, 9).index(a['category_id']), ignore_flag=a['iscrowd'])
            for box, a in zip(corners, own, strict=True)
        ]
    images = leave(tmp_path, metric(kinds=['bbox']), pictures, fed)
    assert [image['id'] for image in images] == choose(ground_truth(document))
    assert [image['file_name'] for image in images] == [f'{image["id"]}.jpg' for image in images]
    unknown = dict(name=None, description=None, sha256=None)
    assert read(tmp_path)['dataset'] == {**unknown, 'classes': ['cup', 'key', 'red box']}


def test_copies_are_small_and_masks_are_not(tmp_path):
    document = {**truth_of({1: 1}), 'categories': made_up()['categories']}
    document['images'][0].update(height=1000, width=3000)
    corner = [[100, 100, 150, 100, 150, 150, 100, 150]]
    document['annotations'][0].update(category_id=2, bbox=[100, 100, 50, 50], segmentation=corner)
    assert cv2.imwrite(str(tmp_path / '1.jpg'), np.full((1000, 3000, 3), 127, np.uint8))
    fed = samples(document, guesses(document))
    (image,) = leave(tmp_path, metric_of(tmp_path, document), Pictures(tmp_path, [1]), fed)
    assert cv2.imread(str(tmp_path / 'examples/0.jpg')).shape == (341, 1024, 3)
    assert (image['height'], image['width']) == (1000, 3000)
    masks = [entry['segmentation'] for key in ('annotations', 'predictions') for entry in image[key]]
    assert len(masks) > 1 and all(mask['size'] == [1000, 3000] for mask in masks)


# What goes wrong costs examples, and nothing else.


def test_a_picture_that_can_not_be_read_is_named_and_the_others_are_there(pictures, tmp_path, caplog):
    document = made_up()
    first, second, third, *rest = choose(ground_truth(document))
    (pictures.folder / f'{first}.jpg').unlink()
    (pictures.folder / f'{second}.jpg').write_text('no picture')
    pictures.ids.remove(third)
    images = leave(tmp_path, metric_of(tmp_path, document), pictures, samples(document, guesses(document)))
    assert [image['id'] for image in images] == rest
    assert [image['picture'] for image in images] == ['examples/0.jpg', 'examples/1.jpg', 'examples/2.jpg']
    assert f'Image {first} is not among the examples: ' in caplog.text and 'No such file' in caplog.text
    assert f'Image {second} is not among the examples: {pictures.folder}/{second}.jpg is no picture' in caplog.text
    assert f'Image {third} is not among the examples: the data that was tested has no file of it' in caplog.text


@pytest.mark.parametrize('data', [[], Pictures(Path('nowhere'), [11, 12, 13])])
def test_data_without_files_leaves_no_examples(tmp_path, caplog, data):
    document = made_up()
    (tmp_path / 'examples.json').write_text('{"images": ["old"]}')
    assert leave(tmp_path, metric_of(tmp_path, document), data, samples(document, guesses(document))) == []
    assert caplog.text.count('is not among the examples') == 6 and not (tmp_path / 'examples').exists()


def test_a_full_disk_is_a_warning(pictures, tmp_path, caplog, monkeypatch):
    document = made_up()
    evaluator = metric_of(tmp_path, document)

    def full(path, content):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(Path, 'write_bytes', full)
    assert leave(tmp_path, evaluator, pictures, samples(document, guesses(document))) == []
    assert 'No examples were written: OSError: [Errno 28] No space left on device' in caplog.text


def test_without_new_figures_the_examples_stay_as_they_are(pictures, tmp_path):
    document = made_up()
    evaluator = metric_of(tmp_path, document)
    evaluator.format_only, evaluator.outfile_prefix = True, f'{tmp_path}/results'
    (tmp_path / 'examples.json').write_text('{"images": ["old"]}')
    assert leave(tmp_path, evaluator, pictures, samples(document, guesses(document))) == ['old']
    assert (tmp_path / 'results.segm.json').is_file() and not (tmp_path / 'examples').exists()


def test_other_metrics_leave_no_examples(pictures, tmp_path, caplog):
    other = SimpleNamespace(dataset_meta=None, process=lambda *args: None, evaluate=lambda size: {'other/figure': 1.0})
    assert leave(tmp_path, other, pictures, []) == [] and caplog.text == ''


def test_a_validation_s_figures_remove_the_examples_of_a_test(pictures, tmp_path):
    document = made_up()
    fed = samples(document, guesses(document))
    assert leave(tmp_path, metric_of(tmp_path, document), pictures, fed)
    shutil.copy(tmp_path / 'examples/0.jpg', tmp_path / 'examples/mine.jpg')
    assert leave(tmp_path, metric_of(tmp_path, document), pictures, fed, hook='after_val_epoch') == []
    assert [path.name for path in (tmp_path / 'examples').iterdir()] == ['mine.jpg']


def test_the_data_set_of_the_tests_has_as_many_pictures_as_they_think(detector):
    assert len(json.loads(detector.annotations.read_text())['images']) == PICTURES == 14
