"""COCO's format, with categories by their names, and fractions of a training set."""

import logging
from functools import partial

import numpy as np
from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO

from damamba.datasets.categories import DatasetError, match_categories

logger = logging.getLogger(__name__)


class NamedCOCO(COCO):
    """Annotations whose categories are asked for by name.

    Args:
        annotation_file: a path.
        complete: every class has to have a category.
    """

    def __init__(self, annotation_file: str, complete: bool = False) -> None:
        super().__init__(annotation_file)
        self.path, self.complete = annotation_file, complete

    def get_cat_ids(self, cat_names=(), sup_names=(), cat_ids=()) -> list[int]:
        """The category of each name, in the order of the names; an id that there is not where there is no category.

        Raises:
            DatasetError: none is there, or ``complete`` and one is not.
        """
        mapping = match_categories(self.dataset['categories'], cat_names)
        if self.complete and mapping.absent:
            raise DatasetError(
                f'{self.path} has nothing to learn {", ".join(mapping.absent)} from: its categories are '
                f'{", ".join(category["name"] for category in self.dataset["categories"])}; mend classes'
            )
        logger.info('%s, by name: %s', self.path, mapping)
        return mapping.filled()


class NamedCocoDataset(CocoDataset):
    """A data set in COCO's format; label k is the k-th of ``classes``, found by name, whatever the case, ids and order.

    (MMDetection's own ``CocoDataset`` gives labels in the order of the file's categories.) The evaluator maps by name
    too, since the meta information says so. A class that the file does not have is an error in training; in a test it
    has nothing to find, and what is detected of it does not count.

    Args:
        fraction: how much of a training set is used, above 0 and up to 1: of its usable pictures, a sample without
            replacement. A smaller fraction of the same ``seed`` is a part of a larger one.
        seed: which sample.
        kwargs: those of ``CocoDataset``: ann_file, metainfo, data_root, data_prefix, filter_cfg, pipeline, ...

    Raises:
        DatasetError: a fraction that is none, or of a set to test on; classes that are not there.
    """

    METAINFO = dict(classes=(), by_name=True)

    def __init__(self, *args, fraction: float = 1.0, seed: int = 0, **kwargs) -> None:
        if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not 0 < fraction <= 1:
            raise DatasetError(f'fraction must be above 0 and up to 1, got {fraction!r}')
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise DatasetError(f'seed must be a whole number from 0 on, got {seed!r}')
        if fraction < 1 and kwargs.get('test_mode'):
            raise DatasetError('fraction is for training: a test on a part of the pictures would miss the others')
        self.fraction, self.seed = fraction, seed
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        self.COCOAPI = partial(NamedCOCO, complete=not self.test_mode)
        try:
            return super().load_data_list()
        finally:
            del self.COCOAPI  # data sets are copied and pickled into workers

    def filter_data(self) -> list[dict]:
        return self._sample(super().filter_data())

    def _sample(self, usable: list[dict]) -> list[dict]:
        """The first of all pictures in a random order, in the order of the file."""
        if self.fraction == 1 or not usable:
            return usable
        usable = sorted(usable, key=lambda picture: picture['img_id'])
        count = max(round(self.fraction * len(usable)), 1)
        chosen = np.random.default_rng(self.seed).permutation(len(usable))[:count]
        logger.info(
            '%s: %d of %d pictures (fraction %g, seed %d)', self.ann_file, count, len(usable), self.fraction, self.seed
        )
        return [usable[number] for number in sorted(chosen)]
