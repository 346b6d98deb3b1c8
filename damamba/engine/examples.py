"""The same few pictures of a ground truth, with what each detector found in them, to lay beside each other."""

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from faster_coco_eval import COCO
from mmengine import fileio
from mmengine.dist import master_only
from mmengine.hooks import Hook
from torch.utils.data import Dataset

from damamba.datasets.folders import folder_of
from damamba.engine.records import dataset_of
from damamba.evaluation.metric import CocoInstanceMetric
from damamba.evaluation.predictions import as_text
from damamba.evaluation.tested import Tested, locate
from damamba.run_record import EXAMPLES, write_json

COUNT = 6
LEAST = 0.05  # score
LONG_SIDE = 1024  # pixels
QUALITY = 85
NAME, FOLDER = EXAMPLES, 'examples'


class ExamplesHook(Hook):
    """Write ``examples.json`` and ``examples/<n>.jpg`` after every test: beside the log, and in the work folder.

    They go with the figures: whatever writes new ones on top removes the examples of earlier ones there.
    """

    def before_test_epoch(self, runner) -> None:
        metric = _metric_of(runner.test_loop.evaluator)
        if metric:
            metric.keep = choose

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        self._write(runner, metrics, None)

    def after_test_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        self._write(runner, metrics, _metric_of(runner.test_loop.evaluator))

    @master_only
    def _write(self, runner, metrics: dict | None, metric: CocoInstanceMetric | None) -> None:
        if not metrics:
            return  # nothing was measured
        try:
            clear(Path(runner.work_dir))
            if metric:
                _write_examples(runner, metric)
                _copy_examples(Path(runner.log_dir), Path(runner.work_dir))
        except Exception as error:  # of a picture, a mask, a disk: the figures are there, and are not to be lost
            runner.logger.warning('No examples were written: %s: %s', type(error).__name__, error)


def _copy_examples(folder: Path, to: Path) -> None:
    """The pictures first, so that nobody reads of one that is not there."""
    if (folder / NAME).exists():
        shutil.copytree(folder / FOLDER, to / FOLDER, dirs_exist_ok=True)
        write_json(to / NAME, json.loads((folder / NAME).read_text(encoding='utf-8')), indent=None)


def choose(truth: COCO, count: int = COUNT) -> list[int]:
    """The ids of a few pictures, from those with few objects to those with many; the same ones every time.

    They stand in the middles of ``count`` equal parts of all pictures that have objects, ordered by how many (crowds
    left out) and by id. Where these are fewer than ``count``, pictures without objects join them.
    """
    objects = Counter(a['image_id'] for a in truth.dataset['annotations'] if not a.get('iscrowd'))
    busy = sorted((image_id for image_id in truth.imgs if objects[image_id]), key=lambda i: (objects[i], i))
    if len(busy) < count:
        empty = sorted(set(truth.imgs) - set(busy))
        return [*empty[: count - len(busy)], *busy]
    return [busy[(2 * part + 1) * len(busy) // (2 * count)] for part in range(count)]


def clear(work_dir: Path) -> None:
    """Remove the examples of an earlier test."""
    (work_dir / NAME).unlink(missing_ok=True)
    for path in (work_dir / FOLDER).glob('*.jpg'):
        if path.stem.isdecimal():
            path.unlink()


def _metric_of(evaluator) -> CocoInstanceMetric | None:
    """The first that has predictions in COCO's format."""
    return next((metric for metric in evaluator.metrics if isinstance(metric, CocoInstanceMetric)), None)


def _write_examples(runner, metric: CocoInstanceMetric) -> None:
    folder, truth = Path(runner.log_dir), metric.truth
    found = defaultdict(list)
    for entry in metric.kept.get('segm', metric.kept['bbox']):
        found[entry['image_id']].append(entry)
    images = []
    for image_id, path, picture in _pictures(runner, metric.tested, choose(truth)):
        name = f'{FOLDER}/{len(images)}.jpg'
        (folder / FOLDER).mkdir(exist_ok=True)
        (folder / name).write_bytes(_jpeg(picture))
        file_name = truth.imgs[image_id].get('file_name') or Path(path).name
        image = {'id': image_id, 'file_name': file_name, 'picture': name}
        images.append(_example(image, truth, found[image_id], picture.shape[:2]))
    if images:
        categories = [{'id': c['id'], 'name': c['name']} for c in truth.dataset['categories']]
        dataset = dataset_of(runner.test_loop)
        write_json(folder / NAME, dict(dataset=dataset, categories=categories, images=images), indent=None)


def _pictures(runner, tested: Tested | None, image_ids: Sequence[int]) -> Iterator[tuple[int, str, np.ndarray]]:
    """The id, the path and the picture of each one that can be read; the log says why another one can't."""
    dataset = runner.test_loop.dataloader.dataset
    leaves = _leaves(dataset, tested, image_ids)
    for image_id in image_ids:
        try:
            if image_id not in leaves:
                raise ValueError('the data that was tested has no file of it')
            picture = _read(*leaves[image_id])
        except (OSError, ValueError, cv2.error) as error:
            runner.logger.warning('Image %s is not among the examples: %s', image_id, error)
            continue
        yield image_id, leaves[image_id][0], picture


def _leaves(dataset: Dataset, tested: Tested | None, image_ids: Sequence[int]) -> dict[int, tuple[str, Dataset]]:
    """Where the pictures lie, and the data sets that have them; those that are not there as files are left out."""
    missing, leaves = set(image_ids), {}
    for place in range(len(dataset) if missing else 0):
        leaf, inside = locate(dataset, place)
        info = leaf.get_data_info(inside) if hasattr(leaf, 'get_data_info') else {}
        number = tested.number(info) if tested and info else info.get('img_id')
        if number in missing and info.get('img_path'):
            leaves[number] = info['img_path'], leaf
            missing.remove(number)
        if not missing:
            break
    return leaves


def _read(path: str, dataset: Dataset) -> np.ndarray:
    """A picture [H, W, 3], uint8, blue first, as the detector's pipeline reads it: also over a network."""
    folder = folder_of(dataset)
    if folder and (reason := folder.why_outside(path)):
        raise ValueError(f'{path}: {reason}')
    content = fileio.get(path, backend_args=getattr(dataset, 'backend_args', None))
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f'{path} is no picture')
    return picture


def _jpeg(picture: np.ndarray) -> bytes:
    factor = min(1, LONG_SIDE / max(picture.shape[:2]))
    size = [max(1, round(side * factor)) for side in picture.shape[1::-1]]
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if factor < 1 else picture
    return cv2.imencode('.jpg', scaled, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def _example(image: dict, truth: COCO, predictions: Sequence[dict], shape: tuple[int, int]) -> dict:
    """One picture; boxes and masks are in pixels of its file, [height, width], however small the copy is."""
    masked = [(a, truth.annToRLE(a) if a.get('segmentation') else None) for a in truth.imgToAnns[image['id']]]
    likely = [entry for entry in predictions if entry['score'] >= LEAST]
    return {
        **image,
        'width': shape[1],
        'height': shape[0],
        'annotations': [{**_object(a, mask, shape), 'iscrowd': int(a.get('iscrowd') or 0)} for a, mask in masked],
        'predictions': [
            {**_object(entry, entry.get('segmentation'), shape), 'score': entry['score']}
            for entry in sorted(likely, key=lambda entry: -entry['score'])
        ],
    }


def _object(entry: dict, mask: dict | None, shape: tuple[int, int]) -> dict:
    """A box to the hundredth of a pixel, a category, and a mask where there is one of the picture's size."""
    found = {'bbox': [round(float(side), 2) for side in entry['bbox']], 'category_id': entry['category_id']}
    if mask and tuple(mask['size']) == shape:
        found['segmentation'] = as_text(mask)
    return found
