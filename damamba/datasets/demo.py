"""Write the embedded data set: synthetic scenes as COCO has its pictures and annotations.

OUT/train2017/000000000001.jpg ...    OUT/annotations/instances_train2017.json
OUT/val2017/000001000001.jpg ...      OUT/annotations/instances_val2017.json
"""

from pathlib import Path

from damamba.datasets.drawing.scenes import DemoError, check_number, check_size, draw_scene
from damamba.datasets.drawing.things import CLASSES
from damamba.datasets.writing import MAX_SEED, OnPicture, Part, Summary, write_set

__all__ = ['CLASSES', 'DemoError', 'Summary', 'draw_scene', 'write_shapes']

DRAWING = '1.1'  # goes up with every change that gives other pictures or annotations
SPLITS = {'train2017': 0, 'val2017': 1_000_000}  # the first picture has the next id
MAX_IMAGES = 1_000_000


def write_shapes(
    out: Path,
    images: int = 600,
    val_images: int | None = None,
    size: int = 192,
    seed: int = 0,
    on_picture: OnPicture = lambda done, total: None,
) -> Summary:
    """Write ``images`` scenes to train on into ``out``, and ``val_images`` (a fifth of it, at least 1) to validate on.

    Pictures have ``size`` x ``size`` pixels. The same arguments give the same bytes, and a picture depends on ``size``,
    ``seed`` and its number alone. After each picture ``on_picture`` is called with how many are done, and of how many.
    A set of the same arguments that is already there is left alone; one that an interrupted run left is drawn again.
    Raises DemoError for arguments that make no sense and for a folder that holds something else, OSError where nothing
    can be written.
    """
    val_images = max(images // 5, 1) if val_images is None else val_images
    check_arguments(images, val_images, size, seed)
    arguments = dict(kind='shapes', images=images, val_images=val_images, size=size, seed=seed, drawing=DRAWING)
    parts = [part_of(split, count, size, seed) for split, count in zip(SPLITS, (images, val_images), strict=True)]
    train, val = write_set(out, parts, arguments, 'Synthetic scenes, drawn by damamba.datasets.demo', on_picture)
    return train + val


def check_arguments(images: int, val_images: int, size: int, seed: int) -> None:
    check_number('the number of pictures to train on', images, 1, MAX_IMAGES)
    check_number('the number of pictures to validate on', val_images, 1, MAX_IMAGES)
    check_size(size)
    check_number('the seed', seed, 0, MAX_SEED)


def part_of(split: str, count: int, size: int, seed: int) -> Part:
    """One split: its pictures, and where they go."""

    def names(i: int) -> tuple[int, str]:
        image_id = SPLITS[split] + i + 1
        return image_id, f'{image_id:012d}.jpg'

    return Part(
        annotations=Path('annotations', f'instances_{split}.json'),
        pictures=Path(split),
        count=count,
        draw=lambda i: draw_scene(size, (seed, list(SPLITS).index(split), i)),
        names=names,
        categories=[dict(id=i, name=name, supercategory='shape') for i, name in enumerate(CLASSES, 1)],
    )
