"""Ground truth and detections beside each other."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import supervision as sv
from faster_coco_eval import COCO
from matplotlib.figure import Figure

from damamba.reporting.curves import INK

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
    factor = LONG_SIDE / max(picture.shape[:2])
    size = (round(picture.shape[1] * factor), round(picture.shape[0] * factor))
    scene = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
    if not entries:
        return scene
    detections = _detections(entries, truth, size, factor)
    labels = [_label(entry, truth) for entry in entries]
    outline = sv.BoxAnnotator if detections.mask is None else sv.PolygonAnnotator
    for annotator in (sv.MaskAnnotator(COLOURS, opacity=0.2), outline(COLOURS, thickness=2)):
        scene = annotator.annotate(scene, detections)
    labeller = sv.LabelAnnotator(COLOURS, text_scale=0.4, text_padding=3, smart_position=True)
    return labeller.annotate(scene, detections, labels)


def _label(entry: dict, truth: COCO) -> str:
    name = truth.cats[entry['category_id']]['name']
    if entry.get('iscrowd'):
        return f'crowd of {name}'
    return f'{name} {entry["score"]:.2f}' if 'score' in entry else name


def _detections(entries: Sequence[dict], truth: COCO, size: tuple[int, int], factor: float) -> sv.Detections:
    boxes = np.array([entry['bbox'] for entry in entries], dtype=float) * factor
    boxes[:, 2:] += boxes[:, :2]
    masks = None
    if any(entry.get('segmentation') for entry in entries):
        masks = np.stack([_mask(entry, truth, size) for entry in entries])
    return sv.Detections(boxes, masks, class_id=np.array([entry['category_id'] for entry in entries]))


def _mask(entry: dict, truth: COCO, size: tuple[int, int]) -> np.ndarray:
    """The enlarged mask of an entry, empty where it has none."""
    if not entry.get('segmentation'):
        return np.zeros(size[::-1], dtype=bool)
    return cv2.resize(truth.annToMask(entry).astype(np.float32), size) > 0.5


def _arrange(tiles: list[np.ndarray], headings: tuple[str, str], title: str) -> Figure:
    """Two pairs of tiles in a row, so that the whole is about as high as it is wide."""
    pairs = min(2, len(tiles) // 2)
    columns, rows = 2 * pairs, -(-len(tiles) // (2 * pairs))
    height, width = tiles[0].shape[:2]
    figure = Figure(figsize=(columns * 3.2, rows * 3.2 * height / width + 0.8), layout='constrained')
    figure.suptitle(title, color=INK, fontweight='bold')
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis('off')
    for index, (axis, tile) in enumerate(zip(axes.flat, tiles, strict=False)):
        axis.imshow(cv2.cvtColor(tile, cv2.COLOR_BGR2RGB))
        if index < columns:
            axis.set_title(headings[index % 2], color=INK, fontsize=10)
    return figure
