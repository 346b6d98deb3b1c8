"""Ground truth and detections beside each other."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import supervision as sv
from faster_coco_eval import COCO
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from damamba.reporting.curves import INK

CAPTION = 0.2  # inches, for two lines above a picture
LONG_SIDE = 480  # pixels that a picture is drawn at, so that labels are small beside what they name
COLOURS = sv.ColorPalette.from_hex(
    ['#e6194b', '#3cb44b', '#4363d8', '#f58231', '#911eb4', '#00a5a5', '#f032e6', '#9a6324', '#808000', '#000075']
)


def draw_detections(
    folder: Path, truth: COCO, predictions: Sequence[dict], path: Path, title: str, count: int = 6, least: float = 0.5
) -> Path:
    """Draw the first pictures of a data set, each with its ground truth and with what was detected in it.

    Args:
        folder: where the pictures lie.
        truth: the annotations.
        predictions: COCO results with bbox and, for masks, segmentation.
        path: the picture file to write.
        title: what stands above.
        count: how many pictures.
        least: the score from which on a detection is drawn.
    """
    found = defaultdict(list)
    for prediction in predictions:
        if prediction['score'] >= least:
            found[prediction['image_id']].append(prediction)
    tiles = []
    for image in truth.dataset['images'][:count]:
        picture = cv2.imread(str(folder / image['file_name']))
        if picture is None:
            raise FileNotFoundError(f'{folder / image["file_name"]} is not there or no picture')
        tiles += [annotate(picture, entries, truth) for entries in (truth.imgToAnns[image['id']], found[image['id']])]
    _arrange(tiles, ('ground truth', f'detections, score at least {least:g}'), title).savefig(path, dpi=100)
    return path


def annotate(picture: np.ndarray, entries: Sequence[dict], truth: COCO) -> np.ndarray:
    """Draw annotations or results of one image of ``truth`` into an enlarged copy of its picture [H, W, 3], uint8."""
    boxes = np.array([entry['bbox'] for entry in entries], dtype=float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    masks = None
    if any(entry.get('segmentation') for entry in entries):
        masks = [_mask(entry, truth, picture.shape[:2]) for entry in entries]
    colours = [entry['category_id'] for entry in entries]
    return draw_objects(picture, boxes, masks, [_label(entry, truth) for entry in entries], colours, LONG_SIDE)


def draw_objects(
    picture: np.ndarray,
    boxes: np.ndarray,
    masks: Sequence[np.ndarray] | None,
    labels: Sequence[str] | None,
    colours: Sequence[int],
    long_side: int,
    boxed: bool = False,
) -> np.ndarray:
    """Draw objects into a copy of a picture that is ``long_side`` long.

    Args:
        picture: [H, W, 3], uint8, blue first.
        boxes: [N, 4], left, top, right and bottom in pixels of the picture.
        masks: N of [H, W]; None where there are boxes alone.
        labels: what stands beside each; None where nothing does.
        colours: a number for each; equal ones have the same colour.
        long_side: of the copy, in pixels.
        boxed: draw the boxes of objects with masks too.
    """
    factor = long_side / max(picture.shape[:2])
    size = (round(picture.shape[1] * factor), round(picture.shape[0] * factor))
    scene = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA)
    if not len(colours):
        return scene
    if masks is not None:
        masks = np.stack([cv2.resize(mask.astype(np.float32), size) > 0.5 for mask in masks])
    detections = sv.Detections(np.asarray(boxes, dtype=float) * factor, masks, class_id=np.asarray(colours))
    outlines = [] if masks is None else [sv.PolygonAnnotator(COLOURS, thickness=2)]
    if boxed or masks is None:
        outlines.append(sv.BoxAnnotator(COLOURS, thickness=2 if masks is None else 1))
    for annotator in (sv.MaskAnnotator(COLOURS, opacity=0.2), *outlines):
        scene = annotator.annotate(scene, detections)
    if labels is None:
        return scene
    labeller = sv.LabelAnnotator(COLOURS, text_scale=0.4, text_padding=3, smart_position=True)
    return labeller.annotate(scene, detections, list(labels))


def draw_sheet(tiles: Sequence[np.ndarray], captions: Sequence[str], path: Path, title: str, columns: int = 4) -> Path:
    """Write pictures, blue first, into one file, each below its caption."""
    figure, axes = _grid(tiles, min(columns, len(tiles)), title, CAPTION)
    for axis, caption in zip(axes, captions, strict=False):
        axis.set_title(caption, color=INK, fontsize=8)
    figure.savefig(path, dpi=150)
    return path


def _label(entry: dict, truth: COCO) -> str:
    name = truth.cats[entry['category_id']]['name']
    if entry.get('iscrowd'):
        return f'crowd of {name}'
    return f'{name} {entry["score"]:.2f}' if 'score' in entry else name


def _mask(entry: dict, truth: COCO, shape: tuple[int, int]) -> np.ndarray:
    """The mask of an entry, empty where it has none."""
    return truth.annToMask(entry) if entry.get('segmentation') else np.zeros(shape, dtype=np.uint8)


def _arrange(tiles: list[np.ndarray], headings: tuple[str, str], title: str) -> Figure:
    """Two pairs of tiles in a row, so that the whole is about as high as it is wide."""
    columns = 2 * min(2, len(tiles) // 2)
    figure, axes = _grid(tiles, columns, title)
    for index, axis in enumerate(axes[:columns]):
        axis.set_title(headings[index % 2], color=INK, fontsize=10)
    return figure


def _grid(tiles: Sequence[np.ndarray], columns: int, title: str, extra: float = 0) -> tuple[Figure, list[Axes]]:
    """Tiles in rows, each as high as a tile is on average, and ``extra`` inches."""
    rows = -(-len(tiles) // columns)
    height = 3.2 * np.mean([tile.shape[0] / tile.shape[1] for tile in tiles]) + extra
    figure = Figure(figsize=(columns * 3.2, rows * height + 0.8), layout='constrained')
    figure.suptitle(title, color=INK, fontweight='bold')
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.axis('off')
    for axis, tile in zip(axes, tiles, strict=False):
        axis.imshow(cv2.cvtColor(tile, cv2.COLOR_BGR2RGB))
    return figure, axes
