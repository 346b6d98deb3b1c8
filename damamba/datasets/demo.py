"""Write the embedded data set: synthetic scenes as COCO has its pictures and annotations.

OUT/train2017/000000000001.jpg ...    OUT/annotations/instances_train2017.json
OUT/val2017/000001000001.jpg ...      OUT/annotations/instances_val2017.json
"""

from pathlib import Path

from damamba.datasets.drawing.scenes import SIZE, DemoError, check_number, draw_scene  # noqa: F401
from damamba.datasets.drawing.things import CLASSES
from damamba.datasets.writing import SEED, OnPicture, Part, Summary, write_set

DRAWING = '1.1'  # goes up with every change that gives other pictures or annotations
IDS = MAX_IMAGES = 1_000_000  # kept for each split's pictures


def write_shapes(
    out: Path,
    images: int = 600,
    val_images: int | None = None,
    size: int = 192,
    seed: int = 0,
    on_picture: OnPicture = lambda done, total: None,
) -> Summary:
    """Write ``images`` scenes to train on into ``out``, and ``val_images`` (a fifth of it, at least 1) to validate on.

    The same arguments give the same bytes, and a picture depends on ``size`` (pixels a side), ``seed`` and its number
    alone. After each one ``on_picture`` is called with how many are done, and of how many. A set that is already there
    is left alone; one that an interrupted run left is drawn again. Raises DemoError for arguments that make no sense
    and for a folder that holds something else, OSError where nothing can be written.
    """
    val_images = max(images // 5, 1) if val_images is None else val_images
    check_number(images, 'the number of pictures to train on', 1, MAX_IMAGES)
    check_number(val_images, 'the number of pictures to validate on', 1, MAX_IMAGES)
    check_number(size, *SIZE)
    check_number(seed, *SEED)
    arguments = dict(kind='shapes', images=images, val_images=val_images, size=size, seed=seed, drawing=DRAWING)
    parts = [
        Part(
            annotations=Path('annotations', f'instances_{split}.json'),
            pictures=Path(split),
            count=count,
            draw=lambda i, number=number: draw_scene(size, (seed, number, i)),
            names=lambda i, first=number * IDS + 1: (first + i, f'{first + i:012d}.jpg'),
            categories=[dict(id=i, name=name, supercategory='shape') for i, name in enumerate(CLASSES, 1)],
        )
        for number, (split, count) in enumerate((('train2017', images), ('val2017', val_images)))
    ]
    train, val = write_set(out, parts, arguments, 'Synthetic scenes, drawn by damamba.datasets.demo', on_picture)
    return train + val
