"""COCO's format, with categories by their names, and fractions of a training set."""

import logging
from collections.abc import Sequence

import numpy as np
from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO

from damamba.datasets.broken import Fault, find_faults
from damamba.datasets.categories import DatasetError, match_categories
from damamba.datasets.json_files import read_json
from damamba.datasets.left_out import BROKEN, find_left_out

logger = logging.getLogger(__name__)


class NamedCocoDataset(CocoDataset):
    """A data set in COCO's format; label k is the k-th of ``classes``, found by name, whatever the case, ids and order.

    (MMDetection's own ``CocoDataset`` gives labels in the order of the file's categories.) The evaluator maps by name
    too, since the meta information says so. A class that the file does not have is an error in training; in a test it
    has nothing to find, and what is detected of it does not count.

    Args:
        fraction: how much of a training set is used, above 0 and up to 1: of its usable pictures, a sample without
            replacement. A smaller fraction of the same ``seed`` is a part of a larger one.
        seed: which sample.
        follow_links: read pictures too to which links lead out of the data set's folder.
        kwargs: those of ``CocoDataset``: ann_file, metainfo, data_root, data_prefix, filter_cfg, pipeline, ...

    Raises:
        DatasetError: a fraction that is none, or of a set to test on; classes that are not there.
    """

    left_out: tuple[list, list] | None = None  # why objects and pictures are not trained on, until somebody says so
    broken: Sequence[dict] = ()  # objects that are not trained on since they can't be, as left_out.json has them
    annotated = 0  # objects of the classes
    METAINFO = {**CocoDataset.METAINFO, 'by_name': True}  # COCO's 80 classes, if no others are asked for

    def __init__(self, *args, fraction: float = 1.0, seed: int = 0, follow_links: bool = False, **kwargs) -> None:
        if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not 0 < fraction <= 1:
            raise DatasetError(f'fraction must be above 0 and up to 1, got {fraction!r}')
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise DatasetError(f'seed must be a whole number from 0 on, got {seed!r}')
        if fraction < 1 and kwargs.get('test_mode'):
            raise DatasetError('fraction is for training: a test on a part of the pictures would miss the others')
        self.fraction, self.seed, self.follow_links = fraction, seed, follow_links
        super().__init__(*args, **kwargs)

    def COCOAPI(self, path: str) -> COCO:
        """What ``CocoDataset`` reads a file with: its categories are asked for by the names of the classes."""
        try:
            document = read_json(path)
        except ValueError as error:
            raise DatasetError(f'{path} can not be read as JSON: {error}; tools/check_dataset.py says more') from error
        annotations = COCO()
        annotations.dataset = document
        annotations.createIndex()
        annotations.img_ann_map, annotations.cat_img_map = annotations.imgToAnns, annotations.catToImgs
        annotations.get_cat_ids = lambda cat_names: self._match(path, annotations, cat_names)
        return annotations

    def _match(self, path: str, annotations: COCO, classes: Sequence[str]) -> list[int]:
        """The category of each class, in their order; an id that there is not where there is no category."""
        document, categories = annotations.dataset, annotations.dataset['categories']
        mapping = match_categories(categories, classes)
        if mapping.absent and not self.test_mode:
            lacking, names = ', '.join(mapping.absent), ', '.join(category['name'] for category in categories)
            raise DatasetError(f'{path} has nothing to learn {lacking} from: its categories are {names}; mend classes')
        logger.info('%s, by name: %s', path, mapping)
        faults = self._leave_out(annotations, mapping.filled())
        if not self.test_mode:  # while the file is in memory: COCO's takes ten seconds to read
            objects, pictures = find_left_out(document, mapping.filled(), self.filter_cfg)
            stopping = sum(fault.stops for fault in faults)
            self.left_out = [*objects, *[BROKEN] * stopping], pictures
            self.broken, self.annotated = [fault.to_dict() for fault in faults], len(objects) + stopping
        return mapping.filled()

    def _leave_out(self, annotations: COCO, cat_ids: Sequence[int]) -> list[Fault]:
        """Take out of the file's index what MMDetection would stumble over; the evaluation reads the file itself."""
        masks = any(getattr(transform, 'with_mask', False) for transform in self.pipeline.transforms)
        faults = find_faults(annotations.dataset, cat_ids, masks, None if self.test_mode else self.filter_cfg)
        stopping = {id(fault.annotation): fault.annotation for fault in faults if fault.stops}
        if stopping:
            left = [it for it in annotations.dataset['annotations'] if id(it) not in stopping]
            annotations.dataset['annotations'] = left
            for image_id in {it['image_id'] for it in stopping.values()}:
                annotations.imgToAnns[image_id] = [
                    it for it in annotations.imgToAnns[image_id] if id(it) not in stopping
                ]
        return faults

    def filter_data(self) -> list[dict]:
        """The usable pictures; of a fraction the first of all in a random order, in the order of the file."""
        usable = super().filter_data()
        if self.fraction == 1 or not usable:
            return usable
        usable = sorted(usable, key=lambda picture: picture['img_id'])
        count = max(round(self.fraction * len(usable)), 1)
        chosen = np.random.default_rng(self.seed).permutation(len(usable))[:count]
        sample = count, len(usable), self.fraction, self.seed
        logger.info('%s: %d of %d pictures (fraction %g, seed %d)', self.ann_file, *sample)
        return [usable[number] for number in sorted(chosen)]
