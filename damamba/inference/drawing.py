"""What was found, drawn into the picture: a colour for each class, a line around each object, names and scores."""

from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from damamba.inference.detections import Detections

# Okabe and Ito's colours, which people with any colour vision tell apart, and more of the same lightness.
COLOURS = [
    '#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#7f5fc4', '#8c6d31', '#c43c51', '#4f9d3a',
]  # fmt: skip
OPACITY = 0.25
SMALL = 320  # pixels of a side, below which lines are as thin as can be


def draw(found: 'Detections', sv: ModuleType) -> np.ndarray:
    """Draw all of them into a copy of their picture: [H, W, 3], uint8, blue first.

    Raises:
        ValueError: the detections came without their picture.
    """
    if found.picture is None:
        raise ValueError(f'{found.name}: there is no picture to draw into')
    palette = sv.ColorPalette.from_hex(COLOURS)
    scene, height, width = found.picture.copy(), *found.size
    if not len(found):
        return scene
    objects = found[::-1].to_supervision()  # the best on top
    size = (width, height)
    line = sv.calculate_optimal_line_thickness(size) if min(size) >= SMALL else 1
    if objects.mask is None:
        scene = sv.BoxAnnotator(palette, thickness=line).annotate(scene, objects)
    else:
        scene = sv.MaskAnnotator(palette, opacity=OPACITY).annotate(scene, objects)
        scene = sv.PolygonAnnotator(palette, thickness=line).annotate(scene, objects)
    letters = max(0.35, 0.8 * sv.calculate_optimal_text_scale(size))
    labels = [f'{name} {score:.2f}' for name, score in zip(objects.data['class_name'], objects.confidence, strict=True)]
    labeller = sv.LabelAnnotator(palette, text_scale=letters, text_padding=round(8 * letters), smart_position=True)
    return labeller.annotate(scene, objects, labels)
