"""What is around a tote: the belt, rollers or table on which it stands, rails beside it, the floor of the robot's cell.

Maps are [H, W, 3]; colours are BGR in 0 ... 1. Lengths are in half lengths of the tote, so that a camera further away
sees more of the same.
"""

import math

import cv2
import numpy as np
from numpy.random import Generator

from damamba.datasets.drawing.grounds import FINE, bgr
from damamba.datasets.drawing.lighting import lay
from damamba.datasets.drawing.placing import Pose, overlap, pose_of
from damamba.datasets.drawing.things import Finish
from damamba.datasets.drawing.totes import Tote

FLOORS = bgr('8f8b84 6f7276 a39d92 5b6064')
RAILS = bgr('b4b8ba 8f9497 d0a92c 3f4448')
BELT = bgr('2c2e31 3a3d40')


def draw_cell(height: int, width: int, tote: Tote, light: np.ndarray, rng: Generator) -> np.ndarray:
    """The cell without the tote: [height, width, 3]."""
    half = tote.ratio + rng.uniform(0.12, 0.4)  # of the belt's width
    canvas = draw_ground(height, width, tote, half, rng)
    for pose, colour in pick_rails(tote, half, rng):
        (rows, columns), _ = overlap(
            pose.corner, (pose.mask.shape[0] // FINE, pose.mask.shape[1] // FINE), canvas.shape
        )
        if rows.start < rows.stop and columns.start < columns.stop:
            colours = np.full((*pose.mask.shape, 3), colour, np.float32)
            lay(canvas, pose, colours, Finish(0.06, 0.06, 0.35), light)
    return canvas


def draw_ground(height: int, width: int, tote: Tote, half: float, rng: Generator) -> np.ndarray:
    x, y = around(height, width, tote)
    canvas = FLOORS[rng.integers(len(FLOORS))] * uneven(height, width, 0.06, rng)[..., None]
    canvas = mark_floor(canvas, x, y, rng)
    under = (rollers if rng.random() < 0.5 else belt)(x, rng)
    share = np.clip((half - np.abs(y)) * tote.scale + 0.5, 0, 1)[..., None]
    canvas = canvas * (1 - share) + under * uneven(height, width, 0.04, rng)[..., None] * share
    return canvas.astype(np.float32)


def around(height: int, width: int, tote: Tote) -> tuple[np.ndarray, np.ndarray]:
    """How far the pixels are from the tote's middle, along it and across: [H, W] each."""
    y, x = np.mgrid[:height, :width].astype(np.float32) + 0.5
    x, y = (x - tote.centre[0]) / tote.scale, (y - tote.centre[1]) / tote.scale
    cos, sin = math.cos(tote.angle), math.sin(tote.angle)
    return x * cos + y * sin, y * cos - x * sin


def uneven(height: int, width: int, strength: float, rng: Generator) -> np.ndarray:
    """Stains and dust: about 1, [height, width]."""
    coarse = rng.normal(0, 1, (5, 6)).astype(np.float32)
    fine = rng.normal(0, 0.35, (height, width)).astype(np.float32)
    return 1 + strength * (cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) + fine)


def mark_floor(canvas: np.ndarray, x: np.ndarray, y: np.ndarray, rng: Generator) -> np.ndarray:
    """Joints of the floor, and often a yellow and black line."""
    pitch = rng.uniform(0.7, 1.3)
    joint = (np.mod(x + 0.3, pitch) < 0.02) | (np.mod(y + 0.4, pitch) < 0.02)
    canvas = canvas * np.where(joint, 0.72, 1.0)[..., None]
    if rng.random() < 0.5:
        at = rng.choice([-1, 1]) * rng.uniform(1.35, 1.7)
        on = (np.abs(y - at) < 0.07)[..., None]
        yellow = (np.mod((x + y) * 4, 1) < 0.5)[..., None]
        canvas = np.where(on, np.where(yellow, RAILS[2], RAILS[3]), canvas)
    return canvas


def belt(x: np.ndarray, rng: Generator) -> np.ndarray:
    seam = np.mod(x + rng.uniform(0, 2), 2.4) < 0.03
    return BELT[rng.integers(2)] * np.where(seam, 1.5, 1.0)[..., None]


def rollers(x: np.ndarray, rng: Generator) -> np.ndarray:
    """Steel tubes side by side, with gaps through which it is dark."""
    across = np.mod(x * rng.uniform(4, 6), 1) * 2.3 - 1.15
    bulge = np.sqrt(np.clip(1 - across * across, 0, 1))
    tone = np.where(np.abs(across) < 1, 0.2 + 0.6 * bulge + 0.18 * (np.abs(across + 0.35) < 0.12), 0.06)
    return bgr('aab0b4') * tone[..., None]


def pick_rails(tote: Tote, half: float, rng: Generator) -> list[tuple[Pose, np.ndarray]]:
    """Long profiles on both sides of the belt, and boxes of the machine further away, with their colours."""
    found, colour = [], RAILS[rng.integers(len(RAILS))]
    for side in (-1, 1):
        found.append((bar(tote, (0.0, side * (half + 0.06)), 2.6, 0.06), colour))
    for _ in range(int(rng.integers(1, 5))):
        at = (rng.uniform(-1.8, 1.8), rng.choice([-1, 1]) * (half + rng.uniform(0.35, 0.9)))
        found.append((bar(tote, at, rng.uniform(0.15, 0.5), rng.uniform(0.08, 0.25)), RAILS[rng.integers(len(RAILS))]))
    return found


def bar(tote: Tote, middle: tuple[float, float], a: float, b: float) -> Pose:
    """A turned rectangle that stands out, as a pose."""
    cos, sin = math.cos(tote.angle), math.sin(tote.angle)
    x = tote.centre[0] + tote.scale * (middle[0] * cos - middle[1] * sin)
    y = tote.centre[1] + tote.scale * (middle[0] * sin + middle[1] * cos)
    unit = 0.5  # of the radius, which sets how long the shadow is
    loop = np.array([(-a, -b), (a, -b), (a, b), (-a, b)]) / unit
    return pose_of(0, (x, y), unit * tote.scale, tote.angle, [loop])
