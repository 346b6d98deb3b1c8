"""A tote seen from above, a little askew: where its rim, its walls and its floor are in a picture, and how they look.

Positions in the tote are (x, y) in half lengths of it, from its middle; depths are measured down from the rim.
Maps are [H, W] or [H, W, 3]; "fine" ones are FINE times larger. Colours are BGR in 0 ... 1.
"""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator

from damamba.datasets.drawing.grounds import FINE, bgr, coverage
from damamba.datasets.drawing.lighting import cast_shadow, relief
from damamba.datasets.drawing.placing import Pose
from damamba.datasets.drawing.things import Finish, rounded

COLOURS = bgr('8b9196 7d858c c9a227 d8b53a 2f5f9e 27508a 26282b 34373b')  # grey, yellow, blue, black plastic
RIM = 0.075  # its width
TAPER = 0.9  # the floor is that much smaller than the opening


@dataclass(frozen=True)
class Tote:
    """A tote and the camera above it."""

    centre: tuple[float, float]  # of the rim, in pixels
    scale: float  # pixels per half length, at the rim
    angle: float
    ratio: float  # of width and length
    depth: float
    distance: float  # from the camera to the rim
    eye: tuple[float, float]  # the point of the tote below the camera
    colour: np.ndarray

    @property
    def floor(self) -> tuple[float, float]:
        """Half its length and width."""
        return TAPER * (1 - RIM), TAPER * (self.ratio - RIM)

    def project(self, points: np.ndarray, depth: float = 0.0) -> np.ndarray:
        """Where points of the tote [N, 2] are in the picture, in pixels."""
        seen = np.array(self.eye) + (points - np.array(self.eye)) * self.distance / (self.distance + depth)
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return self.scale * seen @ np.array([[cos, sin], [-sin, cos]]) + np.array(self.centre)

    def outer(self) -> np.ndarray:
        return rounded(1.0, self.ratio, 1.4 * RIM)

    def opening(self, wider: float = 0.0) -> np.ndarray:
        """The inner edge of the rim, or a line further out on it."""
        return rounded(1 - RIM + wider, self.ratio - RIM + wider, 0.9 * RIM)


def rectangle(a: float, b: float) -> np.ndarray:
    return np.array([(-a, -b), (a, -b), (a, b), (-a, b)])


def pick_tote(height: int, width: int, reach: tuple[float, float], rng: Generator) -> Tote:
    """A tote somewhere near the middle; ``reach`` bounds its length, in picture widths."""
    ratio = rng.uniform(0.66, 0.8)
    scale = rng.uniform(*reach) * width / 2
    spare = np.maximum([width / 2 - scale, height / 2 - ratio * scale], 0.02 * width)
    x, y = rng.uniform(-0.5, 0.5, 2) * spare + np.array([width, height]) / 2
    colour = COLOURS[rng.integers(len(COLOURS))] * np.float32(rng.uniform(0.85, 1.15))
    return Tote(
        centre=(float(x), float(y)),
        scale=scale,
        angle=math.radians(rng.normal(0, 2.0)) + math.pi * rng.integers(2),
        ratio=ratio,
        depth=rng.uniform(0.4, 0.6),
        distance=rng.uniform(2.6, 3.6),
        eye=tuple(rng.uniform(-0.25, 0.25, 2).tolist()),
        colour=colour,
    )


def fill(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """The fine mask of a polygon in pixels."""
    mask = np.zeros((height * FINE, width * FINE), np.uint8)
    cv2.fillPoly(mask, [np.round((points * FINE - 0.5) * 16).astype(np.int32)], 1, shift=4)
    return mask


def paint_tote(canvas: np.ndarray, tote: Tote, light: np.ndarray, rng: Generator) -> None:
    """Paint the empty tote."""
    height, width = canvas.shape[:2]
    paint_rim(canvas, tote, light)
    inside = canvas.copy()
    top, bottom = rectangle(1 - RIM, tote.ratio - RIM), rectangle(*tote.floor)
    upper, lower = tote.project(top), tote.project(bottom, tote.depth)
    normals = ((0, 1), (-1, 0), (0, -1), (1, 0))  # of the walls, into the tote
    for side, normal in enumerate(normals):
        after = (side + 1) % 4
        texture = wall(tote, float(np.dot(turn(normal, tote.angle), light[:2])), rng)
        stretch(inside, texture, np.array([upper[side], upper[after], lower[after], lower[side]]))
    stretch(inside, ground(tote, rng), lower)
    hole = coverage(fill(tote.project(tote.opening()), height, width))
    shadow = rim_shadow(hole, tote, light)
    canvas[:] = canvas * (1 - hole[..., None]) + inside * (shadow * hole)[..., None]


def turn(vector: tuple[float, float], angle: float) -> np.ndarray:
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([vector[0] * cos - vector[1] * sin, vector[0] * sin + vector[1] * cos])


def paint_rim(canvas: np.ndarray, tote: Tote, light: np.ndarray) -> None:
    """The rim and the tote's shadow around it. Smooth as it is, its relief needs no fine map."""
    cover = coverage(fill(tote.project(tote.outer()), *canvas.shape[:2]))
    radius = 0.6 * tote.scale  # which sets how long the shadow is
    pose = Pose(0, tote.centre, radius, 0.0, [], (0, 0), (cover > 0.5).astype(np.uint8))
    shade, shine = relief(replace(pose, radius=radius / FINE), Finish(0.055, 0.05, 0.35), light)
    cast_shadow(canvas, pose, cover, light)
    colours = tote.colour * np.float32(1.12) * shade[..., None] + shine[..., None]
    canvas[:] = canvas * (1 - cover[..., None]) + np.clip(colours, 0, 1) * cover[..., None]


def rim_shadow(hole: np.ndarray, tote: Tote, light: np.ndarray) -> np.ndarray:
    """How bright the inside is: the rim and walls keep some light off. ``hole`` is 1 inside; [H, W]."""
    shift = -light[:2] / np.hypot(*light[:2]) * 0.12 * tote.scale
    moved = cv2.warpAffine(hole, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), hole.shape[::-1])
    return 0.55 + 0.45 * cv2.GaussianBlur(moved, (0, 0), 0.07 * tote.scale + 0.5)


def stretch(canvas: np.ndarray, texture: np.ndarray, corners: np.ndarray) -> None:
    """Lay a picture over four corners: its top left one, and on clockwise."""
    height, width = canvas.shape[:2]
    h, w = texture.shape[:2]
    own = np.float32([(0, 0), (w - 1, 0), (w - 1, h - 1), (0, h - 1)])
    to = cv2.getPerspectiveTransform(own, (corners - 0.5).astype(np.float32))
    laid = cv2.warpPerspective(texture, to, (width, height), borderMode=cv2.BORDER_REPLICATE)
    share = coverage(fill(corners, height, width))[..., None]
    canvas[:] = canvas * (1 - share) + laid * share


def wall(tote: Tote, facing: float, rng: Generator) -> np.ndarray:
    """A wall from the rim (above) down: darker below, with ribs, and a grip. [h, w, 3]."""
    texture = np.ones((64, 320), np.float32)
    pitch = 320 / rng.integers(5, 9)
    across = np.mod(np.arange(320), pitch) / pitch
    texture *= 1 + 0.1 * (np.abs(across - 0.5) < 0.06) - 0.12 * ((across > 0.56) & (across < 0.62))
    texture[8:11] *= 0.82
    texture *= np.linspace(1.0, 0.62, 64, dtype=np.float32)[:, None]
    texture = cv2.GaussianBlur(texture, (0, 0), 1.2)
    cv2.rectangle(texture, (130, 14), (190, 26), 0.4, cv2.FILLED)
    return texture[..., None] * tote.colour * np.float32(0.72 + 0.35 * facing)


def ground(tote: Tote, rng: Generator) -> np.ndarray:
    """The ribbed floor, darker towards the walls. [h, w, 3]."""
    height, width = 240, 320
    y, x = np.mgrid[:height, :width].astype(np.float32)
    pitch = rng.uniform(14, 26)
    lines = np.mod(x, pitch) < 0.16 * pitch
    if rng.random() < 0.6:
        lines |= np.mod(y, pitch) < 0.16 * pitch
    texture = 0.84 + 0.16 * lines.astype(np.float32) - 0.16 * np.roll(lines, 2, (0, 1))
    near = np.minimum(np.minimum(x, width - x), np.minimum(y, height - y)) / 40
    texture = cv2.GaussianBlur(texture, (0, 0), 0.8) * (0.68 + 0.32 * np.clip(near, 0, 1))
    for _ in range(12):  # scratches
        start, end = rng.uniform(0, width, 2), rng.uniform(0, height, 2)
        cv2.line(texture, (int(start[0]), int(end[0])), (int(start[1]), int(end[1])), 0.8, 1, cv2.LINE_AA)
    return texture[..., None] * tote.colour
