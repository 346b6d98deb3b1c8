"""Pictures with objects painted into them, in sheets: the ground truth, and beside it what was found."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import supervision as sv
from faster_coco_eval import COCO
from faster_coco_eval.core import mask as rle

from damamba.reporting.charts.style import INK, WIDTH, Palette, new_chart, tone_of, wrap_name
from damamba.reporting.words import counted

LONG_SIDE = 480  # pixels that a picture is drawn at, so that labels are small beside what they name
OBJECTS = sv.ColorPalette.from_hex(
    ['#e6194b', '#3cb44b', '#4363d8', '#f58231', '#911eb4', '#00a5a5', '#f032e6', '#9a6324', '#808000', '#000075']
)
COLUMNS = 5  # that tiles are large enough in
CAPTION, SPACE, LETTER = 0.14, 0.16, 0.068  # inches: a line above a tile, between tiles, a letter of a caption
HIGHEST = 1.25  # of a tile, by its width
SAME = 0.5  # the overlap from which on what was found has the colour of the object
TITLE = 'Ground truth, and what each run found'
NOTE = f'What was found has the colour of the object that it overlaps by {SAME} or more, else a colour of its own.'

Tile = tuple[np.ndarray, str, str]  # a picture [H, W, 3], uint8, blue first; what stands above it; in which colour


def draw_examples(examples: Mapping[str, dict], palette: Palette, path: Path, least: float = 0.5) -> Path:
    """Draw the pictures that all runs have: the ground truth, and what each found with a score of ``least`` or more.

    ``examples`` are examples.json of each run with their ``folder``. FileNotFoundError: a picture is gone.
    """
    images = {name: {image['id']: image for image in run['images']} for name, run in examples.items()}
    first, shared, count = next(iter(images)), shared_pictures(examples), len(examples) + 1
    columns = -(-count // -(-count // COLUMNS)) if count > 2 else min(4, 2 * len(shared))  # about equal; or pairs
    tiles = []
    for number in shared:
        image = images[first][number]
        picture, size = read_picture(examples[first]['folder'] / image['picture']), (image['width'], image['height'])
        truth = [entry for entry in image['annotations'] if not entry.get('iscrowd')]
        caption = f'ground truth, {counted(len(truth), "object")}'
        tiles.append((paint(picture, size, truth, range(len(truth))), caption, INK))
        for name, by_number in images.items():
            found = [entry for entry in by_number[number]['predictions'] if entry['score'] >= least]
            head = wrap_name(f'{name},', int(WIDTH / columns / LETTER))
            caption = f'{head}\n{len(found)} found at score ≥ {least:g}'
            tiles.append((paint(picture, size, found, colours_of(found, truth)), caption, palette[name]))
        tiles += [None] * (-count % columns if count > 2 else 0)
    return draw_tiles(tiles, columns, path, TITLE, NOTE, width=WIDTH / columns, dpi=130)


def shared_pictures(examples: Mapping[str, dict]) -> list[int]:
    """The ids of the pictures that all runs have, in the order of the first."""
    first, *others = ([image['id'] for image in run['images']] for run in examples.values())
    return [number for number in first if all(number in run for run in others)]


def draw_detections(
    folder: Path, truth: COCO, predictions: Sequence[dict], path: Path, title: str, count: int = 6, least: float = 0.5
) -> Path:
    """Draw the first ``count`` pictures of a data set, each with its ground truth and with what was detected in it.

    ``predictions`` are COCO results, drawn from a score of ``least`` on; the pictures lie in ``folder``, else a
    FileNotFoundError says which is gone.
    """
    tiles = []
    for image in truth.dataset['images'][:count]:
        picture = read_picture(folder / image['file_name'])
        found = [it for it in predictions if it['image_id'] == image['id'] and it['score'] >= least]
        sides = {'ground truth': truth.imgToAnns[image['id']], f'detections, score at least {least:g}': found}
        for caption, entries in sides.items():
            colours, labels = [it['category_id'] for it in entries], [label_of(it, truth) for it in entries]
            tiles.append((paint(picture, picture.shape[1::-1], entries, colours, labels), caption, INK))
    return draw_tiles(tiles, 4, path, title, dpi=100)  # two pairs in a row: about as high as it is wide


def label_of(entry: Mapping, truth: COCO) -> str:
    """The class of an object, and the score of a detection."""
    name = truth.cats[entry['category_id']]['name']
    if entry.get('iscrowd'):
        return f'crowd of {name}'
    return f'{name} {entry["score"]:.2f}' if 'score' in entry else name


def read_picture(path: Path) -> np.ndarray:
    """A picture [H, W, 3], uint8, blue first."""
    picture = cv2.imread(str(path))
    if picture is None:
        raise FileNotFoundError(f'{path} is not there or no picture')
    return picture


def paint(
    picture: np.ndarray, size: tuple[int, int], entries: Sequence[Mapping], colours: Sequence[int],
    labels: Sequence[str] | None = None,
) -> np.ndarray:  # fmt: skip
    """Draw annotations or results of a picture that was annotated at ``size`` (width, height) into a copy of it."""
    boxes = sv.xywh_to_xyxy(np.array([entry['bbox'] for entry in entries], dtype=float).reshape(-1, 4))
    shapes, masks = [entry.get('segmentation') for entry in entries], None
    if any(shapes):
        empty = np.zeros(size[::-1], np.uint8)
        masks = np.array([rle.decode(rle.segmToRle(shape, *size)) if shape else empty for shape in shapes], bool)
    boxes *= np.array(picture.shape[1::-1] * 2) / (size * 2)
    return draw_objects(picture, sv.Detections(boxes, masks, class_id=np.array(colours)), labels)


def colours_of(found: Sequence[dict], truth: Sequence[dict]) -> list[int]:
    """A number for each thing found: that of the object of its class that it lies on, or one of its own."""
    colours = list(range(len(truth), len(truth) + len(found)))
    if not found or not truth:
        return colours
    key = 'segmentation' if all(entry.get('segmentation') for entry in (*found, *truth)) else 'bbox'
    overlaps = np.array(rle.iou([it[key] for it in found], [it[key] for it in truth], [0] * len(truth)))  # IoU
    overlaps *= np.equal.outer([it['category_id'] for it in found], [it['category_id'] for it in truth])
    for n in sorted(range(len(found)), key=lambda n: -found[n]['score']):
        best = int(overlaps[n].argmax())
        if overlaps[n, best] >= SAME:
            colours[n] = best
            overlaps[:, best] = 0
    return colours


def draw_objects(
    picture: np.ndarray, objects: sv.Detections, labels: Sequence[str] | None = None,
    long_side: int = LONG_SIDE, boxed: bool = False,
) -> np.ndarray:  # fmt: skip
    """Draw objects into a copy of a picture [H, W, 3], uint8, blue first, that is ``long_side`` pixels long.

    Boxes are in pixels of the picture, masks of all of it, in any resolution; a class_id is the number of a colour.
    ``boxed`` draws the boxes of objects with masks too.
    """
    factor = long_side / max(picture.shape[:2])
    size = (round(picture.shape[1] * factor), round(picture.shape[0] * factor))
    scene = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA)
    if not len(objects):
        return scene
    masks = objects.mask
    if masks is not None:
        masks = np.stack([cv2.resize(mask.astype(np.float32), size) > 0.5 for mask in masks])
    drawn = sv.Detections(objects.xyxy * factor, masks, class_id=objects.class_id)
    scene = sv.MaskAnnotator(OBJECTS, opacity=0.2).annotate(scene, drawn)  # does nothing without masks, nor the next
    scene = sv.PolygonAnnotator(OBJECTS).annotate(scene, drawn)
    if boxed or masks is None:
        scene = sv.BoxAnnotator(OBJECTS, thickness=2 if masks is None else 1).annotate(scene, drawn)
    if labels is None:
        return scene
    labeller = sv.LabelAnnotator(OBJECTS, text_scale=0.4, text_padding=3, smart_position=True)
    return labeller.annotate(scene, drawn, list(labels))


def draw_tiles(
    tiles: Sequence[Tile | None], columns: int, path: Path, title: str, note: str | None = None,
    width: float = 3.2, dpi: int = 150,
) -> Path:  # fmt: skip
    """Write tiles, each ``width`` inches wide, or None at the end of a row, into one file; rows fit their tiles."""
    columns = min(columns, len(tiles))
    rows = [[*filter(None, tiles[start : start + columns])] for start in range(0, len(tiles), columns)]
    shapes = [max(picture.shape[0] / picture.shape[1] for picture, _, _ in row) for row in rows]
    heights = [(width - SPACE) * min(HIGHEST, shape) for shape in shapes]
    heads = [CAPTION * max(len(caption.splitlines()) for _, caption, _ in row) + SPACE for row in rows]
    shape = dict(width=width * columns, dpi=dpi, rows=len(rows), columns=columns, height_ratios=heights)
    with new_chart(path, title, sum(heights) + sum(heads), note, {}, **shape) as grid:
        for axes in grid.flat:
            axes.axis('off')
        for line, row in zip(grid, rows, strict=True):
            for axes, (picture, caption, colour) in zip(line, row, strict=False):
                axes.imshow(picture[:, :, ::-1])
                axes.set_anchor('NW')
                axes.set_title(caption, loc='left', y=1, fontsize=8, color=tone_of(colour))
    return path
