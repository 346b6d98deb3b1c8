"""The ground truth of what is tested: the annotations of a data set's own pictures, whatever wraps it.

MMDetection's evaluators read an annotation file of their own. Where that is another one than the data set's, or where
``indices`` or a wrapper leave pictures out, they measure something else than was tested, without a word.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mmdet.datasets import CocoDataset, CocoPanopticDataset
from mmengine.runner.runner import _SlicedDataset
from torch.utils.data import Dataset, Subset

from damamba.evaluation.annotations import merge, read
from damamba.evaluation.results import EvaluationError

PARTS = ('images', 'annotations', 'categories')


@dataclass(frozen=True)
class Tested:
    """What a data set is tested on.

    Attributes:
        document: annotations in COCO's format, of its pictures alone; ids of pictures are integers, and each is there
            once.
        files: the annotation files, in the order of the data sets inside.
        numbers: the id in the document of a picture whose own id another file's has too, by its path.
    """

    document: dict
    files: tuple[str, ...]
    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, sample: dict) -> int:
        """The id in the document of a detector's data sample.

        Raises:
            EvaluationError: only its path tells whose it is, and it has none.
        """
        if not self.numbers:
            return sample['img_id']
        path = sample.get('img_path')
        if path is None:
            raise EvaluationError(
                f'{" and ".join(self.files)} have pictures of the same ids, which only their paths tell apart: '
                "PackDetInputs needs 'img_path' among its meta_keys"
            )
        return self.numbers.get(path, sample['img_id'])

    def hold(self, path: str, document: dict) -> None:
        """Hold another annotation file against what is tested.

        Raises:
            EvaluationError: it has other pictures, objects or categories than the files of the data sets.
        """
        if len(self.files) == 1 and Path(path).absolute() == Path(self.files[0]).absolute():
            return
        theirs = merge([read(file) for file in dict.fromkeys(self.files)], self.files)[0]
        if any(_sorted(document[part]) != _sorted(theirs[part]) for part in PARTS):
            raise EvaluationError(
                f"the evaluator's ann_file, {path}, is not what is tested, {' and '.join(self.files)}: it has "
                f'{_counts(document)}, and that {_counts(theirs)}. Leave ann_file out of the evaluator: the ground '
                'truth is that of the data set'
            )


def _sorted(entries: list[dict]) -> list[str]:
    return sorted(json.dumps(entry, sort_keys=True) for entry in entries)


def _counts(document: dict) -> str:
    return f'{len(document["images"]):,} pictures with {len(document["annotations"]):,} objects'


def read_tested(dataset: Dataset) -> Tested | None:
    """What a data set is tested on; None where it has no annotations in COCO's format inside.

    Raises:
        EvaluationError: it is a data set in COCO's format beside another one, its files have different categories or
            strange ids, or it is wrapped in a way that hides which pictures it has.
    """
    by_leaf: dict[int, tuple[Dataset, list[int]]] = {}
    for place in range(len(dataset)):
        leaf, inside = locate(dataset, place)
        by_leaf.setdefault(id(leaf), (leaf, []))[1].append(inside)
    leaves = list(by_leaf.values())
    strange = [type(leaf).__name__ for leaf, _ in leaves if not has_objects(leaf)]
    if len(strange) == len(leaves):
        return None
    if strange:
        raise EvaluationError(f"{strange[0]} beside a data set in COCO's format can not be evaluated with it")
    files = tuple(leaf.ann_file for leaf, _ in leaves)
    parts = [_part(leaf, places) for leaf, places in leaves]
    document, numbers = merge([document for document, _ in parts], files, [paths for _, paths in parts])
    return Tested(document, files, numbers)


def has_objects(leaf: Dataset) -> bool:
    """Whether a data set has annotations of objects in COCO's format, not of segments."""
    return isinstance(leaf, CocoDataset) and not isinstance(leaf, CocoPanopticDataset)


def locate(dataset: Dataset, place: int) -> tuple[Dataset, int]:
    """The data set inside all wrappers that gives the picture of this place, and its place there.

    Raises:
        EvaluationError: a wrapper does not tell.
    """
    while True:
        place %= len(dataset)  # from the end, where it is below 0
        if hasattr(dataset, 'cumulative_sizes'):  # torch's, MMEngine's and MMDetection's ConcatDataset
            part = bisect_right(dataset.cumulative_sizes, place)
            place -= dataset.cumulative_sizes[part - 1] if part else 0
            dataset = dataset.datasets[part]
        elif isinstance(dataset, Subset):
            dataset, place = dataset.dataset, dataset.indices[place]
        elif hasattr(dataset, '_get_ori_dataset_idx'):  # MMEngine's RepeatDataset and ClassBalancedDataset
            dataset, place = dataset.dataset, dataset._get_ori_dataset_idx(place)
        elif isinstance(dataset, _SlicedDataset):  # of num_batch_per_epoch: the first ones
            dataset = dataset._dataset
        elif not hasattr(dataset, 'dataset'):
            return dataset, place
        elif len(dataset) == len(dataset.dataset):  # MultiImageMixDataset
            dataset = dataset.dataset
        else:
            raise EvaluationError(f'a {type(dataset).__name__} does not tell which pictures it gives: test without it')


def _part(leaf: CocoDataset, places: Iterable[int]) -> tuple[dict, dict[int, str]]:
    """The annotations of a data set's pictures at these places; and the paths of these, by their ids."""
    document = read(leaf.ann_file, leaf.backend_args)
    paths = {info['img_id']: info['img_path'] for info in map(leaf.get_data_info, sorted(set(places)))}
    return {
        **document,
        'images': [image for image in document['images'] if image['id'] in paths],
        'annotations': [a for a in document['annotations'] if a['image_id'] in paths],
    }, paths
