"""Predictions in COCO's format of results: from a detector, from files, from the ground truth itself."""

import io
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from faster_coco_eval import COCO
from pycocotools import mask as rle
from torch import Tensor

from damamba.datasets.inspection.defects import short_repr
from damamba.datasets.inspection.records import is_finite_number
from damamba.datasets.inspection.segmentations import SegmentationError, leaves_picture, read_runs, read_segmentation
from damamba.datasets.json_files import read_json as read_json_file
from damamba.evaluation.coco_ap import FIELDS, EvaluationError, check_size, require_all


def encode(masks: Tensor) -> list[dict]:
    """masks [N, H, W], bool or uint8, on any device -> N RLEs, as pycocotools writes them.

    pycocotools reads by columns. OpenCV turns a mask, in half the time that NumPy takes; no more than one mask is
    copied at a time, also from a GPU.
    """
    arrays = (mask.cpu().numpy().astype(np.uint8, copy=False) for mask in masks.detach())
    return [rle.encode(cv2.transpose(array).T) for array in arrays]  # .T: in Fortran's order


def with_encoded_masks(sample: dict) -> dict:
    """A detector's result (``pred_instances`` and more), its masks as RLEs; the one that is given stays as it is."""
    found = sample['pred_instances']
    if not isinstance(found.get('masks'), Tensor):
        return sample
    return {**sample, 'pred_instances': {**found, 'masks': encode(found['masks'])}}


def coco_results(results: Sequence[dict], cat_ids: Sequence[int | None]) -> dict[str, list[dict]]:
    """Turn a detector's results into COCO's: ``{'bbox': [...]}``, with ``'segm'`` where there are masks.

    Args:
        results: one for each image: img_id, bboxes [N, 4] (x1, y1, x2, y2 in pixels), scores [N], labels [N], and
            perhaps masks (N RLEs) and mask_scores [N], as NumPy arrays.
        cat_ids: the category of each label; detections of a label without one (None) are left out.

    Raises:
        EvaluationError: a label stands for no category, or a number is none.
    """
    kinds = {'masks' in result for result in results}
    if len(kinds) > 1:
        raise EvaluationError('some pictures of the predictions have masks, and some have none')
    for result in results:
        _require_numbers(result)
    least = min((int(result['labels'].min()) for result in results if len(result['labels'])), default=0)
    most = max((int(result['labels'].max()) for result in results if len(result['labels'])), default=-1)
    if least < 0 or most >= len(cat_ids):
        raise EvaluationError(
            f'the predictions have labels from {least} to {most}, and the ground truth {len(cat_ids)} classes: they do '
            'not belong together; num_classes of every head is the number of classes in metainfo'
        )
    found = {'bbox': []}
    if True in kinds:
        found['segm'] = []
    for result in results:
        boxes = _entries(result, result['scores'], cat_ids)
        found['bbox'] += boxes
        if 'segm' in found:
            entries = _entries(result, result.get('mask_scores', result['scores']), cat_ids)
            found['segm'] += [{**e, 'segmentation': as_text(m)} for e, m in zip(entries, result['masks'], strict=True)]
    return {kind: [e for e in entries if e['category_id'] is not None] for kind, entries in found.items()}


def _require_numbers(result: dict) -> None:
    lengths = {len(result[name]) for name in ('bboxes', 'scores', 'labels', 'masks', 'mask_scores') if name in result}
    values = [result[name] for name in ('bboxes', 'scores', 'mask_scores') if name in result]
    if len(lengths) > 1 or result['labels'].dtype.kind not in 'iu':
        raise EvaluationError(
            f'image {result["img_id"]}: boxes, scores, labels and masks of the predictions do not fit'
        )
    if not all(np.isfinite(numbers).all() for numbers in values):
        raise EvaluationError(
            f'image {result["img_id"]}: there is NaN or infinity in boxes or scores of the predictions'
        )


def _entries(result: dict, scores, cat_ids: Sequence[int | None]) -> list[dict]:
    rows = zip(result['bboxes'].tolist(), scores.tolist(), result['labels'].tolist(), strict=True)
    return [
        {
            'image_id': result['img_id'],
            'bbox': [x1, y1, x2 - x1, y2 - y1],
            'score': score,
            'category_id': cat_ids[label],
        }
        for (x1, y1, x2, y2), score, label in rows
    ]


def as_text(mask: dict) -> dict:
    """An RLE whose counts are text, as JSON wants them."""
    counts = mask['counts']
    return {'size': list(mask['size']), 'counts': counts.decode() if isinstance(counts, bytes) else counts}


def read_json(path: Path) -> dict[str, list[dict]]:
    """Read COCO results, as ``--format-only`` writes them; the kinds are those whose field every entry has.

    Raises:
        EvaluationError: the file holds something else.
    """
    entries = _json(path)
    needed = {'image_id', 'category_id', 'score'}
    if not isinstance(entries, list) or not all(isinstance(e, dict) and needed <= e.keys() for e in entries):
        raise EvaluationError(
            f'{path} does not hold COCO results, a list of objects with image_id, category_id, score, and bbox or '
            'segmentation' + ('; this is a ground truth' if isinstance(entries, dict) and 'images' in entries else '')
        )
    kinds = {kind: entries for kind, field in FIELDS.items() if all(field in entry for entry in entries)}
    if not kinds:
        raise EvaluationError(f'{path} has entries without bbox and entries without segmentation: nothing to score')
    return kinds


def with_readable_values(entries: Sequence[dict], truth: COCO, file: Path) -> list[dict]:
    """COCO results whose masks are compressed RLE: polygons, and runs as numbers, are encoded.

    Raises:
        EvaluationError: an entry has something else than numbers where there should be some, or a mask that is none;
            the text names it.
    """
    return [_readable(entry, truth, f'{file}, entry {place}') for place, entry in enumerate(entries)]


def _readable(entry: dict, truth: COCO, where: str) -> dict:
    where = f'{where} (image {entry["image_id"]!r})'
    for key in ('image_id', 'category_id'):
        if type(entry[key]) is not int:
            raise EvaluationError(f'{where}: {key} must be an integer, got {entry[key]!r}')
    if not _are_numbers([entry['score']]):
        raise EvaluationError(f'{where}: score must be a finite number, got {short_repr(entry["score"])}')
    box = entry.get('bbox', [0, 0, 0, 0])
    if not (isinstance(box, list) and len(box) == 4 and _are_numbers(box) and min(box[2:]) >= 0):
        raise EvaluationError(f'{where}: bbox must be [x, y, width, height] in pixels, got {short_repr(box)}')
    if 'segmentation' not in entry:
        return entry
    return {**entry, 'segmentation': _compressed(entry, truth.imgs.get(entry['image_id'], {}), where)}


def _are_numbers(values: Sequence) -> bool:
    return all(map(is_finite_number, values))


def _compressed(entry: dict, image: dict, where: str) -> dict:
    """A mask as compressed RLE; a picture's own size is that of polygons."""
    mask, (height, width) = entry['segmentation'], (image.get('height'), image.get('width'))
    try:
        if isinstance(mask, dict):
            if _is_size(mask.get('size')):
                height, width = mask['size']  # held against the picture's in score()
            runs = read_runs(mask, (width, height))
            return (
                mask
                if isinstance(mask['counts'], str)
                else as_text(rle.frPyObjects({**mask, 'counts': runs}, height, width))
            )
        outline = read_segmentation(mask, (width, height))
        if leaves_picture(outline.box, (width, height)):
            raise SegmentationError('polygon_outside', f'it leaves the picture of {width} x {height} pixels')
        return as_text(rle.merge(rle.frPyObjects(mask, height, width)))
    except SegmentationError as error:
        raise EvaluationError(f'{where}: its segmentation is neither RLE nor polygons: {error.args[1]}') from error


def _is_size(size) -> bool:
    return isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)


def _json(path: Path):
    try:
        return read_json_file(path)
    except ValueError as error:
        raise EvaluationError(f'{path} is no JSON: {error}') from error


def read_pickle(
    path: Path, truth: COCO | None = None, number: Callable[[dict], int] = lambda sample: sample['img_id']
) -> list[dict]:
    """Read a detector's results, as :func:`coco_results` takes them, from what ``--out`` writes, each picture's once.

    That is a list of data samples. Nothing but tensors and plain data is built. ``number`` gives a picture's id.

    Raises:
        EvaluationError: the file holds something else, or asks for code to be run; or its pictures are others than
            those of ``truth``, or of other sizes.
    """
    try:
        with path.open('rb') as file:
            samples = _DataUnpickler(file).load()
    except Exception as error:  # what a broken pickle raises has no end: ValueError, TypeError, OverflowError ...
        raise EvaluationError(f'{path} can not be read: {error}') from error
    if not isinstance(samples, list) or not all(_is_sample(sample) for sample in samples):
        raise EvaluationError(f'{path} does not hold the predictions of a detector, as --out writes them')
    once = {number(sample): sample for sample in samples}
    for image_id, sample in once.items():
        if truth and 'ori_shape' in sample:
            check_size(truth, image_id, sample['ori_shape'], 'predictions')
    if truth:
        require_all(truth, once)
    return [_result(image_id, sample) for image_id, sample in once.items()]


def _is_sample(sample) -> bool:
    found = sample.get('pred_instances') if isinstance(sample, dict) and 'img_id' in sample else None
    return isinstance(found, dict) and {'bboxes', 'scores', 'labels'} <= found.keys()


def _result(image_id: int, sample: dict) -> dict:
    arrays = {name: v.numpy() if isinstance(v, Tensor) else v for name, v in sample['pred_instances'].items()}
    return {'img_id': image_id, **arrays}


class _DataUnpickler(pickle.Unpickler):
    """Builds tensors and bytes, and refuses everything else that has a name."""

    def find_class(self, module: str, name: str) -> Callable:
        if (module, name) in REPLACED:
            return REPLACED[module, name]
        if (module, name) in HARMLESS:
            return super().find_class(module, name)
        if module == 'torch' and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        raise pickle.UnpicklingError(f'refused, since it asks for {module}.{name}: wanted tensors and plain data')


def _storage(content: bytes):
    """What torch calls for each tensor's numbers, without leave to run code."""
    return torch.load(io.BytesIO(content), weights_only=True, map_location='cpu')


def _bytes(text: str, encoding: str) -> bytes:
    """What the pickles of protocol 2, MMEngine's, call for bytes."""
    return text.encode('latin1')


REPLACED = {('torch.storage', '_load_from_bytes'): _storage, ('_codecs', 'encode'): _bytes}
HARMLESS = {
    ('torch._utils', '_rebuild_tensor_v2'),
    ('torch', 'Size'),
    ('collections', 'OrderedDict'),
    ('builtins', 'bytes'),
    ('__builtin__', 'bytes'),
}
