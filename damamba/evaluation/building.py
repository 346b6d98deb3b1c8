"""Data sets of a config: which there are inside, and what is wrong with the file of one that MMDetection can't load."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmdet.registry import DATASETS
from mmengine.registry import DefaultScope
from torch.utils.data import Dataset

from damamba.datasets.categories import DatasetError
from damamba.datasets.inspection.annotation_files import read_annotation_files
from damamba.datasets.inspection.defects import Defect

STOPPING = ('not_json', 'no_pictures', 'no_objects', 'no_categories', 'missing_field', 'wrong_type')
STOPPING = (*STOPPING, 'duplicate_annotation_id', 'broken_polygon', 'broken_rle', 'no_segmentation')


def datasets_of(node) -> Iterator[dict]:
    """The data sets with annotations in a node of a config, out of what wraps them."""
    if isinstance(node, dict):
        if node.get('ann_file'):
            yield node
        else:
            yield from datasets_of(node.get('dataset') or node.get('datasets'))
    elif isinstance(node, (list, tuple)):
        for item in node:
            yield from datasets_of(item)


def build_dataset(settings: dict) -> Dataset:
    """The data set of a config, also where no runner has said yet that its parts are MMDetection's.

    Raises:
        DatasetError: as :func:`explained` says.
    """
    with DefaultScope.overwrite_default_scope('mmdet'), explained(settings):
        return DATASETS.build(settings)


@contextmanager
def explained(settings: dict) -> Iterator[None]:
    """While data sets of a config are built, let an error be what is wrong with an annotation file, where that is it.

    Raises:
        DatasetError: names the file, the first record that stops MMDetection, and what names all of them.
    """
    try:
        yield
    except DatasetError:
        raise
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        files = [Path(it.get('data_root') or '') / it['ann_file'] for it in datasets_of(settings)]
        if 'need at least one array' in str(error):  # of the pictures that are left
            raise DatasetError(f'no picture is left of {" and ".join(map(str, files))}') from error
        for file in files:
            defect = _first_defect(file) if 'unexpected keyword' not in str(error) else None
            if defect:
                text = f'{file} can not be loaded: {defect}; tools/check_dataset.py names all that is broken'
                raise DatasetError(text) from error
        raise


def _first_defect(path: Path) -> Defect | None:
    """The first in an annotation file that stops MMDetection, which takes what lacks iscrowd for no crowd."""
    if not path.is_file():
        return None
    found = read_annotation_files(path, path.parent)[0][0].defects
    stopping = [it for it in found if it.kind in STOPPING and not it.text.endswith('no iscrowd')]
    return min(stopping, key=lambda it: STOPPING.index(it.kind) >= STOPPING.index('broken_polygon'), default=None)
