"""The scan, moving over the picture: what it reads lights up, and fades as the state forgets it."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from damamba.inference.explain.decay import weights_at
from damamba.inference.explain.explanation import Explanation, StageScan
from damamba.inference.explain.films import write_film
from damamba.inference.explain.look import dark_look
from damamba.inference.explain.paint import INK, LIGHT, QUIET, colour_of, dimmed, enlarged, splat
from damamba.inference.explain.panels import draw_scale

LONG_SIDE = 480  # pixels of the picture
TOP, SIDE, BOTTOM, LEAST_WIDTH = 84, 24, 24, 470  # pixels around it
SCALE = 70  # pixels right of it
DARK, BRIGHT = 0.17, 0.68  # light on what was not read yet, and on what was just read
SHADES = 24  # of light: what keeps its shade takes no room in a GIF
COARSE = 4  # pixels to one of the light's own
FINE = 8  # bits behind the point of what OpenCV draws: between pixels


def animate(explanation: Explanation, path: str | Path, frames: int, long_side: int = LONG_SIDE) -> Path:
    """Write the scan of the chosen stage, in about this many frames, as .gif or .mp4, whole or not at all."""
    kept = colormaps[LIGHT](np.linspace(0, 1, 2 * SHADES))[:, :3]
    return write_film(lambda: draw_frames(explanation, frames, long_side), Path(path), kept)


def draw_frames(explanation: Explanation, count: int, long_side: int = LONG_SIDE) -> Iterator[np.ndarray]:
    """The frames, each [H, W, 3], uint8, red first; both sides are even."""
    pixels = enlarged(explanation.picture, long_side)
    ground = _ground(explanation, pixels.shape[:2])
    scene = _Scene(explanation.chosen, pixels, explanation.picture.shape[:2])
    for step in np.unique(np.linspace(0, len(explanation.chosen.log_decay) - 1, count).round().astype(int)):
        frame = ground.copy()
        frame[TOP : TOP + pixels.shape[0], SIDE : SIDE + pixels.shape[1]] = scene.move_to(int(step))
        yield frame


class _Scene:
    """The picture, while the scan moves over it: L positions, each reads G points."""

    def __init__(self, it: StageScan, pixels: np.ndarray, size: tuple[int, int]):
        self.it, self.ground = it, dimmed(pixels, DARK, 1)
        self.bright = dimmed(pixels, BRIGHT, 1)
        self.zoom = np.divide(pixels.shape[:2], size)[::-1]  # pixels of the frame to one of the picture, [2]
        self.sources = self._drawn(it.sources).reshape(len(it.log_decay), -1, 2)  # [L, G, 2]
        self.cell = it.stride * float((it.geometry.scale * self.zoom).min())  # pixels of the frame to a cell
        self.dot = 2 * float(np.clip(0.06 * self.cell, 0.8, 2.8))  # half pixels: the radius of a point
        self.crowd = self._spread(np.ones(len(self.sources))) + 1e-3
        self.readers = np.full([2 * side for side in pixels.shape[:2]], -1)  # who read a half pixel last
        self.read = 0  # positions so far

    def _drawn(self, position: np.ndarray) -> np.ndarray:
        """Positions in the picture's pixels -> in the frame's."""
        return (position + 0.5) * self.zoom - 0.5

    def _spread(self, weights: np.ndarray) -> np.ndarray:
        """The weights [N] of the first N positions, spread around where these read: [h, w]."""
        points = self.sources[: len(weights)].reshape(-1, 2)
        strength = np.repeat(weights, len(points) // len(weights)).astype(np.float32)
        coarse = [-(-side // COARSE) for side in self.ground.shape[:2]]
        light = splat((points + 0.5) / COARSE - 0.5, strength, coarse, max(0.45 * self.cell / COARSE, 1))
        return cv2.resize(light, None, fx=COARSE, fy=COARSE)[: self.ground.shape[0], : self.ground.shape[1]]

    def move_to(self, step: int) -> np.ndarray:
        """The picture when the scan has come to this position, which lies behind that of the call before."""
        self._note_readers(step)
        weights = weights_at(self.it.log_decay, step).mean(1)  # [step + 1]
        light = _shade(self._spread(weights) / self.crowd)[..., None]
        frame = self._with_points(self.ground * (1 - light) + self.bright * light, _shade(weights))
        frame = (frame.clip(0, 1) * 255).round().astype(np.uint8)
        self._draw_head(frame, step)
        return frame

    def _note_readers(self, step: int) -> None:
        """Give each new position the half pixels around the points that it read."""
        reach = np.arange(-int(self.dot), int(self.dot) + 1)
        disc = np.array([(x, y) for x in reach for y in reach if x * x + y * y <= self.dot**2])
        new = np.arange(self.read, step + 1)
        places = np.rint(2 * self.sources[new] + 0.5).astype(int)[:, :, None] + disc  # [N, G, D, 2]
        owners = np.broadcast_to(new[:, None, None], places.shape[:3])
        inside = ((places >= 0) & (places < self.readers.shape[::-1])).all(-1)
        self.readers[places[inside][:, 1], places[inside][:, 0]] = owners[inside]
        self.read = step + 1

    def _with_points(self, picture: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """A picture [h, w, 3] with the points in the colours of their weights."""
        weight = np.append(weights, 0)  # of each reader; the last one, -1, is nobody
        shades = colormaps[LIGHT](weight)
        shades[:, 3] = np.sqrt(weight)
        shades[:, :3] *= shades[:, 3:]
        points = cv2.resize(shades.astype(np.float32)[self.readers], picture.shape[1::-1], interpolation=cv2.INTER_AREA)
        return picture * (1 - points[..., 3:]) + points[..., :3]

    def _draw_head(self, frame: np.ndarray, step: int) -> None:
        """The row so far, the position, and rays to what it reads."""
        row, column = divmod(step, self.it.shape[1])
        first, here = (self._drawn(self.it.geometry.to_picture((x, row), self.it.stride)) for x in (0, column))
        ink, colour = ([round(255 * part) for part in to_rgb(name)] for name in (INK, colour_of(self.it.stage)))
        cv2.line(frame, _fine(first), _fine(here), [150, 150, 150], 1, cv2.LINE_AA, FINE)
        for source in self.sources[step]:
            cv2.line(frame, _fine(here), _fine(source), colour, 1, cv2.LINE_AA, FINE)
            cv2.circle(frame, _fine(source), int(self.dot + 1) << FINE - 1, ink, -1, cv2.LINE_AA, FINE)
        cv2.circle(frame, _fine(here), 6 << FINE, ink, 2, cv2.LINE_AA, FINE)


def _shade(light: np.ndarray) -> np.ndarray:
    """Light from 0 to 1, in steps."""
    return np.rint(light.clip(0, 1) * SHADES).astype(np.float32) / SHADES


def _fine(point: np.ndarray) -> tuple[int, int]:
    across, down = np.rint(np.asarray(point) * 2**FINE).astype(int).tolist()
    return across, down


def _ground(explanation: Explanation, shape: tuple[int, int]) -> np.ndarray:
    """What all frames share: titles, and what the colours mean."""
    height, width = shape
    size = [max(width + SIDE + SCALE, LEAST_WIDTH), TOP + height + BOTTOM]
    size = [side + side % 2 for side in size]
    with dark_look():
        figure = Figure(figsize=[side / 100 for side in size], dpi=100)
        canvas = FigureCanvasAgg(figure)
        title = f'Stage {explanation.stage} reads the picture, row by row'
        figure.text(SIDE / size[0], 1 - 38 / size[1], title, size=14, weight='bold')
        note = 'Points and light last as long as the state remembers what was read.'
        figure.text(SIDE / size[0], 1 - 62 / size[1], note, size=8.5, color=QUIET)
        box = (SIDE + width + 12) / size[0], BOTTOM / size[1], 8 / size[0], height / size[1]
        draw_scale(figure.add_axes(box), LIGHT, 'gone', 'new')
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()
