"""Write a stand-in of ARMBench's segmentation data (arXiv 2303.16382): drawn totes, in its folders, names and ids.

OUT/mix-object-tote/images/8f0c...jpg ...       OUT/mix-object-tote/{train,val,test}.json
OUT/zoomed-out-tote-transfer-set/...            the same: the camera further away
OUT/same-object-transfer-set/...                the same: one product, repeated; Object is its only category
"""

import hashlib
from pathlib import Path

from damamba.datasets.drawing.scenes import check_number
from damamba.datasets.drawing.totes import LONG_SIDE, VIEWS, draw_tote_scene
from damamba.datasets.writing import SEED, OnPicture, Part, Summary, write_set

DRAWING = '2.1'  # goes up with every change that gives other pictures or annotations
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
    check_number(images, 'the number of pictures to train on', 1, MAX_IMAGES)
    check_number(long_side, *LONG_SIDE)
    check_number(seed, *SEED)
    splits = SPLITS if test else SPLITS[:-1]
    arguments = dict(kind='armbench', images=images, long_side=long_side, seed=seed, test=test, drawing=DRAWING)
    parts = [
        Part(
            annotations=Path(subset, f'{split}.json'),
            pictures=Path(subset, 'images'),
            count=max(round(images * SHARES[subset][number]), 1),
            draw=lambda i, it=(subset, place, number): draw_tote_scene(it[0], long_side, (seed, *it[1:], i)),
            names=lambda i, it=(subset, split, number): (it[2] * IDS + i + 1, file_name(*it[:2], i)),
            categories=[dict(id=i, name=name, supercategory='') for i, name in enumerate(VIEWS[subset].classes, 1)],
        )
        for place, subset in enumerate(VIEWS)
        for number, split in enumerate(splits)
    ]
    description = 'Drawn totes in the layout of ARMBench, by damamba.datasets.armbench_demo'
    found = iter(write_set(out, parts, arguments, description, on_picture))
    return {subset: sum((next(found) for _ in splits), Summary()) for subset in VIEWS}


def file_name(subset: str, split: str, i: int) -> str:
    return hashlib.blake2b(f'{subset}/{split}/{i}'.encode(), digest_size=8).hexdigest() + '.jpg'
