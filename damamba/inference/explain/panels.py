"""The panels of the sheet."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.patheffects import withStroke

from damamba.inference.explain.explanation import Explanation, StageScan
from damamba.inference.explain.geometry import cell_grid
from damamba.inference.explain.paint import (
    GROUND,
    INK,
    PACE,
    QUIET,
    colour_of,
    dimmed,
    enlarged,
    glowing,
    over_picture,
)  # fmt: skip

LARGE, SMALL = 1100, 420  # pixels that the longer side of a picture is drawn with
STARS = 8  # cells across or down whose reading is drawn
LENGTHS = 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40, 60, 80, 100, 150, 200  # factors by which rays are drawn longer
LEAST_WINDOW = 0.3  # of the picture, that the constellation's panel shows


def show(axes: Axes, explanation: Explanation, pixels: np.ndarray) -> None:
    """Fill axes with a drawing of the picture, in the picture's own coordinates."""
    height, width = explanation.picture.shape[:2]
    axes.imshow(pixels.clip(0, 1), extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation='bilinear')
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_anchor('NW')  # a picture flatter or taller than the panel


def mark(axes: Axes, explanation: Explanation, size: float = 5) -> None:
    """A ring around the position."""
    ring = dict(marker='o', markersize=size, fillstyle='none', linestyle='none', zorder=9, clip_on=False)
    axes.plot(*explanation.position, **ring, color=GROUND, markeredgewidth=size / 6 + 1.6)
    axes.plot(*explanation.position, **ring, color=INK, markeredgewidth=size / 12 + 0.6)


def caption(axes: Axes, text: str, left: float = 0, colour: str = QUIET) -> None:
    """A small text below a panel, from this part of its width on."""
    look = dict(xycoords='axes fraction', textcoords='offset points', va='top', size=8, color=colour)
    axes.annotate(text, (left, 0), (0, -5), **look)


def draw_constellation(axes: Axes, explanation: Explanation) -> None:
    """Everything that is read for the position, stage by stage; what is read first lies above."""
    show(axes, explanation, dimmed(enlarged(explanation.picture, LARGE), 0.5, 0.75))
    levels = explanation.constellation
    for depth, level in enumerate(levels):
        colour, few = colour_of(level.stage + 1), min(1.0, (30 / len(level.points)) ** 0.5)
        lines = np.stack([level.origins, level.points], axis=1)
        look = dict(linewidths=0.5 + few, alpha=0.12 + 0.7 * few**1.5, zorder=8 - depth)
        axes.add_collection(LineCollection(lines, colors=colour, **look))
        for size, alpha in ((4.0, 0.1 * few), (2.2, 0.2 * few), (1.1, 0.65 + 0.35 * few)):
            look = dict(markersize=size * (1.6 + 4 * few), markeredgewidth=0, alpha=alpha, zorder=8 - depth)
            axes.plot(*level.points.T, 'o', color=colour, **look)
        caption(axes, f'● stage {level.stage + 1}: {len(level.points):,}', depth / len(levels), colour)
    mark(axes, explanation, 13)
    _zoom(axes, explanation, np.concatenate([level.points for level in levels]))


def _zoom(axes: Axes, explanation: Explanation, points: np.ndarray) -> None:
    """Show the part of the picture that holds these points, in the panel's proportions."""
    size = np.array(explanation.picture.shape[1::-1])
    far = np.abs(points - explanation.position).max(0) * 1.25 / size
    half = np.clip(far.max(), LEAST_WINDOW / 2, 0.5) * size
    centre = np.clip(explanation.position, half - 0.5, size - 0.5 - half)
    (left, top), (right, bottom) = centre - half, centre + half
    axes.set(xlim=(left, right), ylim=(bottom, top))


def draw_reading(axes: Axes, explanation: Explanation, it: StageScan) -> None:
    """Rays from cells to where they read, longer than they are where they would be too short to see."""
    show(axes, explanation, dimmed(enlarged(explanation.picture, SMALL), 0.32))
    every = max(1, -(-max(it.shape) // STARS))
    rows, columns = (slice((side - 1) % every // 2, None, every) for side in it.shape)
    centres = it.geometry.to_picture(cell_grid(it.shape), it.stride)[rows, columns, None]  # [h, w, 1, 2]
    rays = it.sources[rows, columns] - centres  # [h, w, G, 2]
    room, far = every * it.stride * it.geometry.scale.min() / 2, np.quantile(np.linalg.norm(rays, axis=-1), 0.95)
    longer = max((factor for factor in LENGTHS if factor * far <= room), default=1)
    ends = centres + rays * longer
    lines = np.stack(np.broadcast_arrays(centres, ends), axis=-2).reshape(-1, 2, 2)
    axes.add_collection(LineCollection(lines, colors=colour_of(it.stage), linewidths=0.6, alpha=0.65))
    axes.plot(*ends.reshape(-1, 2).T, 'o', color=colour_of(it.stage), markersize=2, markeredgewidth=0)
    mark(axes, explanation)
    median = it.reach[0]
    told = f'{median:.2g}' if median < 10 else f'{median:.0f}'
    caption(axes, f'{told} px away (median)' + (f', drawn × {longer}' if longer > 1 else ''))


def draw_field(axes: Axes, explanation: Explanation, it: StageScan) -> None:
    """The effective receptive field as light."""
    pixels = enlarged(explanation.picture, SMALL)
    field = it.receptive_field / max(np.quantile(it.receptive_field, 0.9995), 1e-30)
    heat = over_picture(field, _cells(explanation, pixels, it, 1))
    show(axes, explanation, glowing(dimmed(pixels, 0.22), np.sqrt(heat.clip(0, 1))))
    mark(axes, explanation)
    half, most = (f'{share * 100:.2g} %' for share in it.areas)
    caption(axes, f'50 % in {half}, 90 % in {most}')


def draw_pace(axes: Axes, explanation: Explanation, it: StageScan) -> None:
    """The pace of forgetting as a map, on a logarithmic scale of its own."""
    pixels = enlarged(explanation.picture, SMALL)
    low, high = np.quantile(it.pace, (0.02, 0.98)).clip(1e-2, 1e6)
    norm = LogNorm(low, max(high, low * 1.01), clip=True)
    pace = over_picture(it.pace.clip(low, high), _cells(explanation, pixels, it, it.stride))
    show(axes, explanation, colormaps[PACE](norm(pace))[..., :3])
    mark(axes, explanation)
    caption(axes, f'{low:.3g} to {high:.3g} positions')


def _cells(explanation: Explanation, pixels: np.ndarray, it: StageScan, stride: int) -> np.ndarray:
    """The cells (x, y) that lie at the pixels of an enlarged picture."""
    zoom = np.divide(explanation.picture.shape[:2], pixels.shape[:2])[::-1]
    return it.geometry.to_cells((cell_grid(pixels.shape[:2]) + 0.5) * zoom - 0.5, stride)


def draw_scale(axes: Axes, shades: str, low: str, high: str) -> None:
    """A bar of colours between two words."""
    axes.imshow(colormaps[shades](np.linspace(1, 0, 256))[:, None], aspect='auto', extent=(0, 1, 0, 1))
    axes.set(xticks=[], yticks=[0, 1], yticklabels=[low, high])
    axes.yaxis.tick_right()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def draw_curve(axes: Axes, it: StageScan) -> None:
    """What is left in a stage's state of each position before, going back along the scan."""
    weights = it.weights[::-1]  # [step + 1, C], the position itself first
    colour, back = colour_of(it.stage), np.arange(len(weights)) / it.shape[1]
    for low, high in ((0.1, 0.9), (0.25, 0.75)):
        axes.fill_between(back, *np.quantile(weights, (low, high), axis=1), color=colour, alpha=0.18, linewidth=0)
    outline = withStroke(linewidth=4.5, foreground=GROUND)
    axes.plot(back, weights.mean(1), color=colour, linewidth=2.2, path_effects=[outline])
    axes.axhline(np.exp(-1), color=QUIET, linewidth=0.8, linestyle=(0, (2, 3)))
    right = max(back[-1], 1 / it.shape[1])
    axes.annotate('1/e', (right, np.exp(-1)), (4, 0), textcoords='offset points', va='center', size=8, color=QUIET)
    axes.set(xlim=(0, right), ylim=(0, 1.02), yticks=[0, 0.5, 1], xlabel='rows back along the scan')
