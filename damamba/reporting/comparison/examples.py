"""The same pictures with the ground truth and with what each run found in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from faster_coco_eval.core import mask as rle
from matplotlib.figure import Figure

from damamba.reporting.comparison.fonts import as_it_is, save
from damamba.reporting.comparison.layout import QUIET, WIDTH, in_order, tone_of, wrap
from damamba.reporting.curves import INK
from damamba.reporting.pictures import LONG_SIDE, draw_objects

COLUMNS = 5  # that tiles are large enough in
HEAD, CAPTION, SPACE, LETTER = 0.72, 0.14, 0.1, 0.068  # inches: title and note, a line above a tile, between, a letter
HIGHEST = 1.25  # of a tile, by its width
TILE_DPI = 130
SAME = 0.5  # the overlap from which on what was found has the colour of the object
TITLE = 'Ground truth, and what each run found'
NOTE = f'What was found has the colour of the object that it overlaps by {SAME} or more, else a colour of its own.'


@dataclass(frozen=True)
class Tile:
    """A picture with what is drawn in it, and what stands above it in which colour."""

    picture: np.ndarray  # [H, W, 3], blue first
    name: str
    found: str
    colour: str


@as_it_is
def draw_examples(
    examples: Mapping[str, dict],
    folders: Mapping[str, Path],
    palette: Mapping[str, str],
    path: Path,
    least: float = 0.5,
) -> Path:
    """Draw the pictures that all runs have: the ground truth, and beside it what each run found.

    Args:
        examples: examples.json of each run.
        folders: where each of them lies.
        palette: the runs' colours.
        path: the file to write.
        least: the score from which on something counts as found.
    """
    names = in_order(examples, palette)
    images = [{image['id']: image for image in examples[name]['images']} for name in names]
    rows = []
    for number in images[0]:
        if all(number in by_number for by_number in images):
            entries = {name: by_number[number] for name, by_number in zip(names, images, strict=True)}
            rows.append(_row(entries, Path(folders[names[0]]), palette, least))
    if not rows:
        raise ValueError(f'no picture is in the examples of all of {", ".join(names)}: test them on the same data set')
    return save(_arrange(rows), path, TILE_DPI)


def _row(entries: Mapping[str, dict], folder: Path, palette: Mapping[str, str], least: float) -> list[Tile]:
    image = next(iter(entries.values()))
    picture = cv2.imread(str(folder / image['picture']))
    if picture is None:
        raise FileNotFoundError(f'{folder / image["picture"]} is not there or no picture')
    truth = [entry for entry in image['annotations'] if not entry.get('iscrowd')]
    tiles = [Tile(_paint(picture, image, truth, range(len(truth))), '', f'ground truth, {_count(truth)}', INK)]
    for name, entry in entries.items():
        found = [prediction for prediction in entry['predictions'] if prediction['score'] >= least]
        painted = _paint(picture, image, found, colours_of(found, truth))
        tiles.append(Tile(painted, f'{name},', f'{len(found)} found at score ≥ {least:g}', palette[name]))
    return tiles


def _count(objects: Sequence) -> str:
    return '1 object' if len(objects) == 1 else f'{len(objects)} objects'


def colours_of(found: Sequence[dict], truth: Sequence[dict]) -> list[int]:
    """A number for each thing found: that of the object of its class that it lies on, or one of its own."""
    colours = list(range(len(truth), len(truth) + len(found)))
    if not found or not truth:
        return colours
    overlaps = _overlaps(found, truth)
    overlaps[np.array([[f['category_id'] != t['category_id'] for t in truth] for f in found])] = 0
    for n in sorted(range(len(found)), key=lambda n: -found[n]['score']):
        best = int(overlaps[n].argmax())
        if overlaps[n, best] >= SAME:
            colours[n] = best
            overlaps[:, best] = 0
    return colours


def _overlaps(found: Sequence[dict], truth: Sequence[dict]) -> np.ndarray:
    """IoU of masks, of boxes where one has no mask: [N, M]."""
    key = 'segmentation' if all(entry.get('segmentation') for entry in (*found, *truth)) else 'bbox'
    shapes = [[entry[key] for entry in entries] for entries in (found, truth)]
    if key == 'bbox':
        shapes = [np.array(boxes, dtype=float) for boxes in shapes]
    return np.array(rle.iou(*shapes, [0] * len(truth)), dtype=float)


def _paint(picture: np.ndarray, image: Mapping, entries: Sequence[dict], colours: Sequence[int]) -> np.ndarray:
    height, width = picture.shape[:2]
    scale = np.array([width / image['width'], height / image['height']] * 2)
    boxes = np.array([entry['bbox'] for entry in entries], dtype=float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    masks = None
    if any(entry.get('segmentation') for entry in entries):
        masks = [_mask(entry, (width, height)) for entry in entries]
    return draw_objects(picture, boxes * scale, masks, None, colours, LONG_SIDE)


def _mask(entry: Mapping, size: tuple[int, int]) -> np.ndarray:
    """A mask at the picture's size, empty where there is none."""
    if not entry.get('segmentation'):
        return np.zeros(size[::-1], dtype=np.uint8)
    return cv2.resize(rle.decode(entry['segmentation']), size, interpolation=cv2.INTER_NEAREST)


def lines_of(rows: Sequence[list[Tile]]) -> list[list[Tile]]:
    """Tiles beside each other: a row, or parts of it of about equal length; two rows where each is a pair."""
    length = len(rows[0])
    if length == 2:
        return [[tile for row in rows[start : start + 2] for tile in row] for start in range(0, len(rows), 2)]
    columns = -(-length // -(-length // COLUMNS))
    return [row[start : start + columns] for row in rows for start in range(0, length, columns)]


def _arrange(rows: Sequence[list[Tile]]) -> Figure:
    """Tiles of equal width in lines, each as high as its highest picture."""
    lines = lines_of(rows)
    width = (WIDTH - SPACE) / max(map(len, lines)) - SPACE
    captions = [[_caption(tile, int(width / LETTER)) for tile in line] for line in lines]
    heads = [CAPTION * max(text.count('\n') + 1 for text in line) + 0.05 for line in captions]
    heights = [width * min(HIGHEST, max(t.picture.shape[0] / t.picture.shape[1] for t in line)) for line in lines]
    figure = Figure(figsize=(WIDTH, sum(heads) + sum(heights) + 2 * SPACE * len(lines) + HEAD))
    whole = figure.get_figheight()
    figure.text(SPACE / WIDTH, 1 - 0.1 / whole, TITLE, color=INK, fontweight='bold', fontsize=13, va='top')
    figure.text(SPACE / WIDTH, 1 - 0.38 / whole, NOTE, color=QUIET, fontsize=9, va='top')
    top = whole - HEAD
    for line, texts, head, height in zip(lines, captions, heads, heights, strict=True):
        bottom = top - head - height
        for k, (tile, text) in enumerate(zip(line, texts, strict=True)):
            left = SPACE + k * (width + SPACE)
            axes = figure.add_axes((left / WIDTH, bottom / whole, width / WIDTH, height / whole), anchor='NW')
            axes.imshow(cv2.cvtColor(tile.picture, cv2.COLOR_BGR2RGB))
            axes.axis('off')
            place = (left / WIDTH, (bottom + height + 0.05) / whole)
            figure.text(*place, text, color=tone_of(tile.colour), fontsize=8, va='bottom')
        top = bottom - 2 * SPACE
    return figure


def _caption(tile: Tile, letters: int) -> str:
    """The name in lines, and the number below it."""
    return '\n'.join(part for part in (wrap(tile.name, letters), tile.found) if part)
