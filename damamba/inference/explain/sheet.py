"""One sheet: the constellation of a position, its memory, and what each stage reads, sees and remembers."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from damamba.inference.explain import panels
from damamba.inference.explain.explanation import Explanation
from damamba.inference.explain.layout import MARGIN, Box, Layout
from damamba.inference.explain.look import dark_look
from damamba.inference.explain.paint import LIGHT, PACE, QUIET, colour_of
from damamba.inference.whole_files import written_whole

DPI = 150
LONGEST = 60  # letters of a picture's name
TITLE = 'What DAMamba looks at'
CONSTELLATION = (
    'A constellation for one position',
    'The points that the last stage reads for the ring, and what is read there in turn.',
)
CURVE = 'How its memory fades', 'Weights in the state of stage {}: mean of the channels, and their middle 50 and 80 %.'
ROWS = (
    (
        'Where each stage reads',
        'Each dot is where a group of 16 channels is read from, for the cell that its ray starts at.',
    ),
    (
        'What reaches the position',
        'Bright pixels move the features there most. Below: what part of the picture holds 50 and 90 % of that.',
    ),
    (
        'How long it remembers',
        'For how many positions of the scan a memory would last at the pace of this place; where dark, it lets go.',
    ),
)


def draw_sheet(explanation: Explanation, path: str | Path | None = None) -> np.ndarray:
    """Draw an explanation: [H, W, 3], uint8, red first; with a path, write it as PNG too, whole or not at all."""
    height, width = explanation.picture.shape[:2]
    layout = Layout(height / width, len(explanation.stages))
    with dark_look():
        figure = Figure(figsize=layout.size, dpi=DPI)
        canvas = FigureCanvasAgg(figure)
        _write(explanation, layout, figure)
        _draw(explanation, layout, figure)
        canvas.draw()
        sheet = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    if path is not None:
        with written_whole(path) as beside:
            Image.fromarray(sheet).save(beside, format='PNG')
    return sheet


def _write(explanation: Explanation, layout: Layout, figure: Figure) -> None:
    """The titles of the sheet, of the stages, and of the panels."""
    (height, width), (across, down) = explanation.picture.shape[:2], explanation.position
    name = explanation.name if len(explanation.name) <= LONGEST else f'…{explanation.name[1 - LONGEST :]}'
    told = f'{name}, {width} × {height} pixels, seen from ({across:.0f}, {down:.0f}), {explanation.reason}'
    layout.write(figure, MARGIN, 0.72, TITLE, size=26, weight='bold')
    layout.write(figure, MARGIN, 1.08, told, size=11, color=QUIET)
    _head(layout, figure, layout.hero, *CONSTELLATION)
    _head(layout, figure, layout.curve, CURVE[0], CURVE[1].format(explanation.stage))
    for row, texts in enumerate(ROWS):
        _head(layout, figure, layout.panel(row, 0), *texts)
    for place, it in enumerate(explanation.stages):
        left, *_ = layout.panel(0, place)
        grid = f'{it.shape[1]} × {it.shape[0]} cells of {it.stride} px'
        layout.write(figure, left, 1.67, f'Stage {it.stage}', size=14, weight='bold', color=colour_of(it.stage))
        layout.write(figure, left, 1.88, grid, size=9, color=QUIET)


def _head(layout: Layout, figure: Figure, box: Box, title: str, note: str) -> None:
    left, top, *_ = box
    layout.write(figure, left, top - 0.33, title, size=13, weight='bold')
    layout.write(figure, left, top - 0.12, note, size=8.5, color=QUIET)


def _draw(explanation: Explanation, layout: Layout, figure: Figure) -> None:
    """The panels."""
    panels.draw_constellation(layout.axes(figure, layout.hero), explanation)
    panels.draw_curve(layout.axes(figure, layout.curve), explanation.chosen)
    for place, it in enumerate(explanation.stages):
        for row, draw in enumerate((panels.draw_reading, panels.draw_field, panels.draw_pace)):
            draw(layout.axes(figure, layout.panel(row, place)), explanation, it)
    panels.draw_scale(layout.axes(figure, layout.scale(1)), LIGHT, 'none', 'most')
    panels.draw_scale(layout.axes(figure, layout.scale(2)), PACE, 'short', 'long')
