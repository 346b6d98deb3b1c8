"""Write a stand-in of ARMBench's segmentation data (arXiv 2303.16382): drawn totes, in its folders, names and ids.

OUT/mix-object-tote/images/8f0c...jpg ...       OUT/mix-object-tote/{train,val,test}.json
OUT/zoomed-out-tote-transfer-set/...            the same: the camera further away
OUT/same-object-transfer-set/...                the same: one product, repeated; Object is its only category
"""

import hashlib
from functools import reduce
from itertools import chain
from operator import add
from pathlib import Path

from damamba.datasets.drawing.scenes import check_number
from damamba.datasets.drawing.tote_scenes import VIEWS, check_long_side, draw_tote_scene
from damamba.datasets.writing import MAX_SEED, OnPicture, Part, Summary, write_set

DRAWING = '1.1'  # goes up with every change that gives other pictures or annotations
SPLITS = ('train', 'val', 'test')
SHARES = {  # of the pictures to train on in mix-object-tote
    'mix-object-tote': (1, 1 / 5, 1 / 5),
    'zoomed-out-tote-transfer-set': (1 / 15, 1 / 6, 1 / 6),
    'same-object-transfer-set': (1 / 15, 1 / 6, 1 / 6),
}
MAX_IMAGES = 100_000
IDS = 1_000_000  # kept for each split's pictures


def write_armbench(
    out: Path,
    images: int = 300,
    long_side: int = 320,
    seed: int = 0,
    test: bool = True,
    on_picture: OnPicture = lambda done, total: None,
) -> dict[str, Summary]:
    """Write the three subsets into ``out``, with ``images`` pictures to train on in the first; return what each holds.

    A fifth as many are to validate and to test on; of each of the others a fifteenth to train, a sixth to validate and
    to test on, and 1 at least. Without ``test`` there are neither ``test.json`` nor its pictures. The pictures have the
    real ones' aspects; ``long_side`` is the longest side of all in pixels, where the real data has 2448. The same
    arguments give the same bytes, and a picture depends on its subset, split and number, ``long_side`` and ``seed``
    alone. Progress, sets that are there and errors are as in ``write_shapes``.
    """
    check_number('the number of pictures to train on', images, 1, MAX_IMAGES)
    check_long_side(long_side)
    check_number('the seed', seed, 0, MAX_SEED)
    splits = SPLITS if test else SPLITS[:-1]
    arguments = dict(kind='armbench', images=images, long_side=long_side, seed=seed, test=test, drawing=DRAWING)
    parts = {
        subset: [part_of(subset, split, counted(images, subset, split), long_side, seed) for split in splits]
        for subset in VIEWS
    }
    description = 'Drawn totes in the layout of ARMBench, by damamba.datasets.armbench_demo'
    found = iter(write_set(out, list(chain(*parts.values())), arguments, description, on_picture))
    return {subset: reduce(add, (next(found) for _ in splits)) for subset in VIEWS}


def counted(images: int, subset: str, split: str) -> int:
    return max(round(images * SHARES[subset][SPLITS.index(split)]), 1)


def part_of(subset: str, split: str, count: int, long_side: int, seed: int) -> Part:
    """One split of a subset: its pictures, and where they go."""
    view, number = VIEWS[subset], SPLITS.index(split)

    def names(i: int) -> tuple[int, str]:
        name = hashlib.blake2b(f'{subset}/{split}/{i}'.encode(), digest_size=8).hexdigest()
        return number * IDS + i + 1, f'{name}.jpg'

    return Part(
        annotations=Path(subset, f'{split}.json'),
        pictures=Path(subset, 'images'),
        count=count,
        draw=lambda i: draw_tote_scene(subset, long_side, (seed, list(VIEWS).index(subset), number, i)),
        names=names,
        categories=[dict(id=i, name=name, supercategory='') for i, name in enumerate(view.classes, 1)],
        holder=view.classes.index('Tote') if 'Tote' in view.classes else None,
    )
