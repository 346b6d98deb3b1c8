"""One scene in the format of each tool, written here by hand: what it holds is known pixel by pixel.

Three pictures: ``a.png`` with a cat of one part, a dog of two and a cat with a hole; ``b.jpg`` with a dog, a box alone;
``empty.png`` with nothing. All edges lie between pixels, so that a mask has no rounding.
"""

import base64
import io
import json
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SIZE = (64, 48)  # width, height
COUNTS = dict(pictures=3, empty=1, objects=4, boxes=1, crowds=0, parts=4, holes=1)
CLASSES = dict(cat=2, dog=2)
BOX = (8, 4, 30, 20)  # x, y, width, height of the dog in b.jpg
ONE = [(2, 3), (12, 3), (12, 13), (2, 13)]
TWO = [[(20, 5), (26, 5), (26, 9), (20, 9)], [(30, 7), (40, 7), (40, 17), (30, 17)]]
RING, HOLE = [(10, 20), (50, 20), (50, 44), (10, 44)], [(20, 25), (20, 35), (40, 35), (40, 25)]
JOINED_TWO = [*TWO[0], (20, 5), (30, 7), *TWO[1][1:], (30, 7)]
JOINED_RING = [*RING, (10, 20), (20, 25), *HOLE[1:], (20, 25)]


def mask_of(*outlines) -> np.ndarray:
    """The mask of rectangles; the second of two that lie in one another is a hole."""
    mask = np.zeros(SIZE[::-1], bool)
    for outline in outlines:
        (left, top), (right, bottom) = np.min(outline, 0), np.max(outline, 0)
        mask[top:bottom, left:right] ^= True
    return mask


MASKS = {'a.png': [('cat', mask_of(ONE)), ('dog', mask_of(*TWO)), ('cat', mask_of(RING, HOLE))], 'b.jpg': []}


def write_pictures(folder: Path, size=SIZE) -> Path:
    """The three pictures, of noise: each is another."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in ('a.png', 'b.jpg', 'empty.png'):
        cv2.imwrite(str(folder / name), rng.integers(0, 255, (*size[::-1], 3), dtype=np.uint8))
    return folder


def write_text(path: Path, content: object) -> None:
    """Text as it is, anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding='utf-8')


def yolo_line(number: int, outline, size=SIZE) -> str:
    return f'{number} ' + ' '.join(f'{x / size[0]:.7g} {y / size[1]:.7g}' for x, y in outline) + '\n'


def yolo_box(number: int, box, size=SIZE) -> str:
    x, y, width, height = box
    middle = (x + width / 2) / size[0], (y + height / 2) / size[1]
    return f'{number} {middle[0]:.7g} {middle[1]:.7g} {width / size[0]:.7g} {height / size[1]:.7g}\n'


def yolo(folder: Path) -> None:
    write_pictures(folder / 'images' / 'train')
    lines = yolo_line(0, ONE) + yolo_line(1, JOINED_TWO) + yolo_line(0, JOINED_RING)
    write_text(folder / 'labels' / 'train' / 'a.txt', lines)
    write_text(folder / 'labels' / 'train' / 'b.txt', yolo_box(1, BOX))
    write_text(folder / 'data.yaml', 'path: ../datasets/pets\ntrain: images/train\nnc: 2\nnames: [cat, dog]\n')


def shape(label: str, points, kind='polygon', group=None, **more) -> dict:
    return dict(label=label, points=points, shape_type=kind, group_id=group, flags={}, **more)


def png_text(mask: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, 'PNG')
    return base64.b64encode(file.getvalue()).decode()


def labelme(folder: Path) -> None:
    write_pictures(folder)
    size, ring = dict(imageWidth=SIZE[0], imageHeight=SIZE[1]), mask_of(RING, HOLE)[20:44, 10:50]
    two = [shape('dog', outline, group=7) for outline in TWO]
    masked = shape('cat', [[10, 20], [49, 43]], 'mask', mask=png_text(ring))
    shapes = [shape('cat', ONE), *two, masked]
    write_text(folder / 'a.json', dict(version='5.4.1', imagePath='a.png', imageData=None, shapes=shapes, **size))
    x, y, width, height = BOX
    box = shape('dog', [[x + width, y], [x, y + height]], 'rectangle')
    write_text(folder / 'b.json', dict(version='5.4.1', imagePath=r'..\pets\b.jpg', shapes=[box], **size))


def bitmap_text(mask: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(np.dstack([mask * np.uint8(255)] * 4)).save(file, 'PNG')
    return base64.b64encode(zlib.compress(file.getvalue())).decode()


def supervisely_object(title: str, kind: str, exterior=(), interior=(), **more) -> dict:
    points = dict(points=dict(exterior=[*map(list, exterior)], interior=[[*map(list, hole)] for hole in interior]))
    return dict(classTitle=title, geometryType=kind, tags=[], **(points if kind != 'bitmap' else {}), **more)


def supervisely(folder: Path) -> None:
    """Corners are the middles of pixels; what goes through these pycocotools gives to the left, or above."""
    write_pictures(folder / 'train' / 'img')
    classes = [dict(title='cat', shape='any'), dict(title='dog', shape='any')]
    write_text(folder / 'meta.json', dict(classes=classes, tags=[]))
    *two, ring, hole = (np.subtract(outline, 1).tolist() for outline in (*TWO, RING, HOLE))
    two = [supervisely_object('dog', 'polygon', outline, instance='i') for outline in two]
    one = dict(data=bitmap_text(mask_of(ONE)[3:13, 2:12]), origin=[2, 3])
    objects = [
        supervisely_object('cat', 'bitmap', bitmap=one),
        *two,
        supervisely_object('cat', 'polygon', ring, [hole]),
    ]
    x, y, width, height = BOX
    box = supervisely_object('dog', 'rectangle', [(x, y), (x + width - 1, y + height - 1)])
    for name, own in (('a.png', objects), ('b.jpg', [box]), ('empty.png', [])):
        size = dict(width=SIZE[0], height=SIZE[1])
        write_text(folder / 'train' / 'ann' / f'{name}.json', dict(size=size, tags=[], objects=own))


def runs_of(mask: np.ndarray) -> dict:
    """COCO's uncompressed run lengths, down the columns, from 0 on."""
    flat = mask.ravel(order='F')
    ends = [*(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]
    return dict(size=[*mask.shape], counts=np.diff([0, *ends]).tolist())


def coco(folder: Path) -> None:
    write_pictures(folder / 'train2017')
    images = [dict(id=n, file_name=it, width=64, height=48) for n, it in enumerate(('a.png', 'b.jpg', 'empty.png'), 5)]
    polygons = [[[value for point in outline for value in point] for outline in outlines] for outlines in ([ONE], TWO)]
    entries = [
        dict(image_id=5, category_id=9, segmentation=polygons[0]),
        dict(image_id=5, category_id=3, segmentation=polygons[1]),
        dict(image_id=5, category_id=9, segmentation=runs_of(mask_of(RING, HOLE))),
        dict(image_id=6, category_id=3, bbox=[*BOX], segmentation=[]),
    ]
    annotations = [dict(id=40 + n, iscrowd=0, area=1, **it) for n, it in enumerate(entries)]
    categories = [dict(id=9, name='cat'), dict(id=3, name='dog')]
    document = dict(images=images, annotations=annotations, categories=categories)
    write_text(folder / 'annotations' / 'instances_train2017.json', document)


def write_labels(path: Path, values: np.ndarray, palette=None) -> None:
    """A picture of labels, of 8 or 16 bits as they need."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(values.astype(np.uint8 if values.max() < 256 else np.uint16))
    if palette is not None:
        picture = picture.convert('P')
        picture.putpalette(palette)
    picture.save(path)


def labels_of_a(*values: int) -> np.ndarray:
    """The labels of a.png, with these values for its three objects."""
    labels = np.zeros(SIZE[::-1], int)
    for value, (_, mask) in zip(values, MASKS['a.png'], strict=True):
        labels[mask] = value
    return labels


def voc_xml(name: str, *objects: tuple, database='Unknown', size=SIZE) -> str:
    """An XML file of Pascal VOC; an object is its class and its box's left, top, right and bottom."""
    ends = ('xmin', 'ymin', 'xmax', 'ymax')
    boxes = [
        (label, ''.join(f'<{end}>{it}</{end}>' for end, it in zip(ends, box, strict=True))) for label, *box in objects
    ]
    inner = ''.join(f'<object><name>{label}</name><bndbox>{box}</bndbox></object>' for label, box in boxes)
    sides = '<size><width>{}</width><height>{}</height><depth>3</depth></size>'.format(*size)
    source = f'<source><database>{database}</database></source>'
    return f'<annotation><filename>{name}</filename>{source}{sides}{inner}</annotation>'


def voc_colours() -> list[int]:
    """VOC's palette, as its own files have it: the bits of the number are dealt out to red, green and blue."""
    bits = [f'{number:09b}'[::-1] for number in range(256)]
    return [int((own[channel::3]).ljust(8, '0'), 2) for own in bits for channel in range(3)]


def voc(folder: Path) -> None:
    write_pictures(folder / 'JPEGImages')
    void = labels_of_a(1, 2, 3)
    void[void == 0] = np.where(np.arange((void == 0).sum()) < 50, 255, 0)  # a border, which belongs to nothing
    classes = np.where(void == 255, 255, np.array([0, 8, 12, 8, *[0] * 252])[void])  # cat and dog
    write_labels(folder / 'SegmentationObject' / 'a.png', void, voc_colours())
    write_labels(folder / 'SegmentationClass' / 'a.png', classes, voc_colours())
    x, y, width, height = BOX
    box = ('dog', x + 1, y + 1, x + width, y + height)  # of pixels, from 1 on
    write_text(folder / 'Annotations' / 'b.xml', voc_xml('b.jpg', box, database='The VOC2012 Database'))
    write_text(folder / 'ImageSets' / 'Segmentation' / 'train.txt', 'a\nb\nempty\n')
    write_text(folder / 'ImageSets' / 'Segmentation' / 'trainval.txt', 'a\nb\nempty\n')


SOURCES = dict(yolo=yolo, labelme=labelme, supervisely=supervisely, coco=coco, voc=voc)
SPLITS = dict(labelme='all')  # of the others it is train
