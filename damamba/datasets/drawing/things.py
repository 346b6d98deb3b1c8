"""What can lie in a scene: for each class an outline, a coat and a relief.

An outline is a list of loops [N, 2] in units of the thing's radius; the first is the outside, the others are holes.
A coat tells for the points (u, v) of the same plane how dark the colour is and how much of the accent it takes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

Loops = list[np.ndarray]
Coat = tuple[np.ndarray | float, np.ndarray | float]  # tone, a factor; share of the accent, 0 ... 1


def polar(radii: np.ndarray | float, count: int = 72) -> np.ndarray:
    angles = np.linspace(0, 2 * math.pi, count, endpoint=False)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)


def soften(points: np.ndarray, cut: float = 0.2, times: int = 3) -> np.ndarray:
    """Round the corners of a loop by cutting them off, again and again (Chaikin)."""
    for _ in range(times):
        after = np.roll(points, -1, 0)
        points = np.stack([points + cut * (after - points), after + cut * (points - after)], 1).reshape(-1, 2)
        cut = 0.25
    return points


def rounded(a: float, b: float, radius: float, steps: int = 5) -> np.ndarray:
    """A rectangle of half sides a and b, from its upper left corner on, with round corners."""
    angles = np.linspace(0, math.pi / 2, steps)
    bow = radius * np.stack([np.cos(angles), np.sin(angles)], 1)
    parts = []
    for number, (x, y) in enumerate(((-1, -1), (1, -1), (1, 1), (-1, 1))):
        turned = bow if number % 2 == 0 else bow[::-1]
        parts.append(np.array([x, y]) * (turned + np.array([a - radius, b - radius])))
    return np.concatenate(parts)


def mirrored(upper: list[tuple[float, float]]) -> np.ndarray:
    """Close an open line above the axis v = 0 with its mirror image."""
    points = np.array(upper)
    below = points[::-1] * [1, -1]
    return np.concatenate([points, below[np.abs(below[:, 1]) > 0]])


def ball(rng: Generator) -> Loops:
    return [polar(1.0)]


def ring(rng: Generator) -> Loops:
    return [polar(1.0), polar(rng.uniform(0.5, 0.58))]


def star(rng: Generator) -> Loops:
    radii = np.tile([1.08, rng.uniform(0.47, 0.53)], 5)
    return [soften(polar(radii, 10), cut=0.1)]


def fish(rng: Generator) -> Loops:
    height = rng.uniform(0.5, 0.6)
    back = [(1.0, 0.0), (0.92, 0.3 * height), (0.6, 0.8 * height), (0.2, height), (-0.2, 0.75 * height)]
    return [soften(mirrored([*back, (-0.52, 0.1), (-0.92, 0.6), (-1.08, 0.5), (-0.82, 0.0)]))]


def crate(rng: Generator) -> Loops:
    turn = math.atan(math.exp(-rng.uniform(0, 0.65)))
    a, b = math.cos(turn), math.sin(turn)
    return [soften(np.array([(a, b), (-a, b), (-a, -b), (a, -b)]), cut=0.06, times=1)]


def gear(rng: Generator) -> Loops:
    teeth = int(rng.integers(7, 10))
    radii = np.tile([1.0, 1.0, 1.0, 0.76, 0.74, 0.76], teeth)
    return [polar(radii, 6 * teeth), polar(rng.uniform(0.3, 0.36), 36)]


def plain(u: np.ndarray, v: np.ndarray, loops: Loops) -> Coat:
    return 1.0, 0.0


def ball_coat(u: np.ndarray, v: np.ndarray, loops: Loops) -> Coat:
    bulge = np.sqrt(np.clip(1 - u * u, 0, 1))
    return 1.0, (np.abs(v) < 0.3 * bulge) * 1.0


def ring_coat(u: np.ndarray, v: np.ndarray, loops: Loops) -> Coat:
    return 1.0, (np.cos(4 * np.arctan2(v, u)) > 0.5) * 1.0


def fish_coat(u: np.ndarray, v: np.ndarray, loops: Loops) -> Coat:
    eye = (u - 0.62) ** 2 + (v + 0.12) ** 2
    bands = (np.abs(u + 0.02 + 0.25 * v * v) < 0.09) | (np.abs(u + 0.34 + 0.25 * v * v) < 0.07)
    rays = (u < -0.68) & (np.mod(np.arctan2(v, -u - 0.3) * 3.2 + 0.25, 1) < 0.3)
    tone = np.where(eye < 0.0055, 0.12, np.where(rays, 0.78, 1.0))
    return tone, ((eye < 0.022) | bands) * 1.0


def crate_coat(u: np.ndarray, v: np.ndarray, loops: Loops) -> Coat:
    a, b = loops[0].max(0)
    rim = np.minimum(a - np.abs(u), b - np.abs(v))
    place = (v + b) / (2 * b) * 4
    seam = np.mod(place + 0.04, 1) < 0.08
    board = 0.84 + 0.1 * np.mod(np.floor(place) * 3, 4) / 3 + 0.05 * np.sin(v * 60 + 3 * np.sin(u * 4))
    inner = np.where(seam, 0.5, board * np.where(rim < 0.25, 0.72, 1.0))
    nail = (np.abs(np.abs(u) - a + 0.11) < 0.045) & (np.abs(np.abs(v) - b + 0.11) < 0.045)
    mitre = np.abs((a - np.abs(u)) - (b - np.abs(v))) < 0.03
    outer = np.where(nail, 0.45, np.where(mitre, 0.7, 1.05))
    return np.where(rim < 0.2, outer, inner), 0.0


def gear_coat(u: np.ndarray, v: np.ndarray, loops: Loops) -> Coat:
    far = np.hypot(u, v)
    hub = np.abs(loops[1]).max() + 0.13
    return np.where(np.abs(far - hub - 0.04) < 0.04, 0.62, np.where(far < hub, 1.08, 0.96)), 0.0


@dataclass(frozen=True)
class Finish:
    """How far a thing's edges are rounded, how high it stands, how it shines."""

    rounding: float  # in radii
    height: float  # in radii
    gloss: float  # brightness of the highlight


@dataclass(frozen=True)
class Kind:
    """A class of things: its outline, its coat and its finish."""

    outline: Callable[[Generator], Loops]
    coat: Callable[[np.ndarray, np.ndarray, Loops], Coat]
    finish: Finish


KINDS = {
    'ball': Kind(ball, ball_coat, Finish(1.0, 0.9, 0.55)),
    'crate': Kind(crate, crate_coat, Finish(0.07, 0.05, 0.05)),
    'fish': Kind(fish, fish_coat, Finish(0.5, 0.35, 0.3)),
    'gear': Kind(gear, gear_coat, Finish(0.1, 0.08, 0.25)),
    'ring': Kind(ring, ring_coat, Finish(0.24, 0.22, 0.4)),
    'star': Kind(star, plain, Finish(0.55, 0.3, 0.3)),
}
CLASSES: tuple[str, ...] = tuple(KINDS)
