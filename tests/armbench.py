"""A few pictures in ARMBench's layout, to do by hand: a tote, and boxes in it that lie upon one another."""

import json

import cv2
import numpy as np

TWO = (('Tote', 1), ('Object', 2))  # as ARMBench's mix-object-tote has them
ONE = (('Object', 1),)  # as same-object-transfer-set does
SHAPE = (60, 80)  # height, width in pixels
TOTE = [(4, 4), (76, 5), (75, 56), (5, 55)]
OBJECTS = (
    [(10, 10), (30, 8), (34, 26), (12, 30)],
    [(25, 20), (46, 18), (50, 40), (28, 42)],
    [(52, 12), (70, 14), (66, 34)],
)


def annotation(number, image_id, category_id, points, shift=0):
    points = np.asarray(points, dtype=float) + shift
    (x1, y1), (x2, y2) = points.min(0), points.max(0)
    x, y = points.T
    area = abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2
    return dict(
        id=number,
        image_id=image_id,
        category_id=category_id,
        segmentation=[points.reshape(-1).tolist()],
        bbox=[x1, y1, x2 - x1, y2 - y1],
        area=area,
        iscrowd=0,
    )


def document(categories=TWO, images=4, first=1):
    """Annotations whose objects are the same, whatever the ids, the order and the case of the categories."""
    ids = {name.casefold(): number for name, number in categories}
    content = dict(
        images=[
            dict(id=i, file_name=f'{i:06d}.jpg', height=SHAPE[0], width=SHAPE[1]) for i in range(first, first + images)
        ],
        categories=[dict(id=number, name=name, supercategory='') for name, number in categories],
        annotations=[],
    )
    things = [('tote', TOTE)] if 'tote' in ids else []
    things += [('object', points) for points in OBJECTS]
    for image in content['images']:
        for name, points in things:
            shift = image['id'] % 3
            number = len(content['annotations']) + 1
            content['annotations'].append(annotation(number, image['id'], ids[name], points, shift))
    return content


def write(root, subset='mix-object-tote', categories=TWO, images=4, splits=('train', 'val', 'test'), pictures=True):
    """Write one subset; return its folder."""
    folder = root / subset
    (folder / 'images').mkdir(parents=True, exist_ok=True)
    for number, split in enumerate(splits):
        content = document(categories, images, first=1 + number * images)
        (folder / f'{split}.json').write_text(json.dumps(content))
        for image in content['images'] if pictures else ():
            noise = np.random.default_rng(image['id']).integers(0, 255, (*SHAPE, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / 'images' / image['file_name']), noise)
    return folder


def write_all(root, pictures=True):
    """All three subsets; the last one has Object alone, as category 1."""
    write(root, pictures=pictures)
    write(root, 'zoomed-out-tote-transfer-set', pictures=pictures)
    write(root, 'same-object-transfer-set', ONE, pictures=pictures)
    return root
