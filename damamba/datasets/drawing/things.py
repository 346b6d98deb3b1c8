"""What lies in pictures: the six classes of the demo's scenes, and the products of a warehouse that lie in totes.

A thing is an outline, a coat and a finish. An outline is a list of loops [N, 2] in units of the thing's radius; the
first is the outside, the others are holes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from damamba.datasets.drawing.grounds import PALETTES, bgr, checks, clouds, dots, gradient, stripes

Tones = np.ndarray | float  # a map, or one number for all
Coat = Callable[[np.ndarray, np.ndarray], tuple[Tones, Tones]]


@dataclass(frozen=True)
class Thing:
    """What one thing is like, wherever it lies. Lengths are in radii."""

    loops: list[np.ndarray]
    rounding: float  # how far its edges are rounded
    height: float
    gloss: float  # brightness of the highlight
    coat: Coat = lambda u, v: (1.0, 0.0)  # at (u, v): a factor of the own colour; the accent's share of it, 0 ... 1
    colours: tuple[np.ndarray, np.ndarray] | None = None  # own and accent, BGR, of what has the same in every scene


def polar(radii: np.ndarray | float, count: int = 72) -> np.ndarray:
    """A loop around the middle, at one radius or at ``count`` of them."""
    angles = np.linspace(0, 2 * math.pi, count, endpoint=False)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)


def mirrored(upper: Sequence[Sequence[float]]) -> np.ndarray:
    """Close an open line above the axis v = 0 with its mirror image."""
    points = np.array(upper)
    below = points[::-1] * [1, -1]
    return np.concatenate([points, below[np.abs(below[:, 1]) > 0]])


def soften(points: np.ndarray, cut: float = 0.2, times: int = 3) -> np.ndarray:
    """Round the corners of a loop by cutting them off, again and again (Chaikin)."""
    for _ in range(times):
        after = np.roll(points, -1, 0)
        points = np.stack([points + cut * (after - points), after + cut * (points - after)], 1).reshape(-1, 2)
        cut = 0.25
    return points


def ball(rng: Generator) -> Thing:
    def coat(u, v):
        return 1.0, np.abs(v) < 0.3 * np.sqrt(np.clip(1 - u * u, 0, 1))

    return Thing([polar(1.0)], rounding=1.0, height=0.9, gloss=0.55, coat=coat)


def crate(rng: Generator) -> Thing:
    turn = math.atan(math.exp(-rng.uniform(0, 0.65)))
    across, along = math.cos(turn), math.sin(turn)
    loop = soften(mirrored([(across, along), (-across, along)]), cut=0.06, times=1)
    a, b = loop.max(0)

    def coat(u, v):
        across, along = a - np.abs(u), b - np.abs(v)  # from the sides
        rim, place = np.minimum(across, along), (v + b) / (2 * b) * 4
        board = 0.84 + 0.1 * np.mod(np.floor(place) * 3, 4) / 3 + 0.05 * np.sin(v * 60 + 3 * np.sin(u * 4))
        inner = np.where(np.mod(place + 0.04, 1) < 0.08, 0.5, board * np.where(rim < 0.25, 0.72, 1.0))
        nail = (np.abs(np.abs(u) - a + 0.11) < 0.045) & (np.abs(np.abs(v) - b + 0.11) < 0.045)
        outer = np.where(nail, 0.45, np.where(np.abs(across - along) < 0.03, 0.7, 1.05))
        return np.where(rim < 0.2, outer, inner), 0.0

    return Thing([loop], rounding=0.07, height=0.05, gloss=0.05, coat=coat)


def fish(rng: Generator) -> Thing:
    height = rng.uniform(0.5, 0.6)
    back = [(1.0, 0.0), (0.92, 0.3 * height), (0.6, 0.8 * height), (0.2, height), (-0.2, 0.75 * height)]
    loop = soften(mirrored([*back, (-0.52, 0.1), (-0.92, 0.6), (-1.08, 0.5), (-0.82, 0.0)]))

    def coat(u, v):
        eye = (u - 0.62) ** 2 + (v + 0.12) ** 2
        bands = (np.abs(u + 0.02 + 0.25 * v * v) < 0.09) | (np.abs(u + 0.34 + 0.25 * v * v) < 0.07)
        rays = (u < -0.68) & (np.mod(np.arctan2(v, -u - 0.3) * 3.2 + 0.25, 1) < 0.3)
        return np.where(eye < 0.0055, 0.12, np.where(rays, 0.78, 1.0)), (eye < 0.022) | bands

    return Thing([loop], rounding=0.5, height=0.35, gloss=0.3, coat=coat)


def gear(rng: Generator) -> Thing:
    teeth = int(rng.integers(7, 10))
    radii, hole = np.tile([1.0, 1.0, 1.0, 0.76, 0.74, 0.76], teeth), polar(rng.uniform(0.3, 0.36), 36)
    hub = np.abs(hole).max() + 0.13

    def coat(u, v):
        far = np.hypot(u, v)
        return np.where(np.abs(far - hub - 0.04) < 0.04, 0.62, np.where(far < hub, 1.08, 0.96)), 0.0

    return Thing([polar(radii, 6 * teeth), hole], rounding=0.1, height=0.08, gloss=0.25, coat=coat)


def ring(rng: Generator) -> Thing:
    def coat(u, v):
        return 1.0, np.cos(4 * np.arctan2(v, u)) > 0.5

    return Thing([polar(1.0), polar(rng.uniform(0.5, 0.58))], rounding=0.24, height=0.22, gloss=0.4, coat=coat)


def star(rng: Generator) -> Thing:
    radii = np.tile([1.08, rng.uniform(0.47, 0.53)], 5)
    return Thing([soften(polar(radii, 10), cut=0.1)], rounding=0.55, height=0.3, gloss=0.3)


SHAPES = (ball, crate, fish, gear, ring, star)  # colours don't tell them apart: a scene chooses these
CLASSES: tuple[str, ...] = tuple(shape.__name__ for shape in SHAPES)

COLOURS = np.concatenate([bgr('b5895b efeeea efeeea 1c1a19'), *(it[2:] for it in PALETTES)])  # kraft, white, black
BOX, DISC = ((1, 1), (-1, 1)), polar(1.0)[:37]  # halves of outlines, above v = 0, in lengths and widths
BAG = ((1, 0), (0.97, 0.6), (0.7, 0.95), (0, 1), (-0.7, 0.95), (-0.97, 0.6), (-1, 0))
POUCH = ((1, 0), (1, 1), (0.85, 0.98), (0.3, 0.9), (-0.3, 0.9), (-0.85, 0.98), (-1, 1), (-1, 0))
BOTTLE = ((1, 0), (1, 0.42), (0.72, 0.42), (0.44, 0.9), (0.36, 1), (-0.96, 1), (-1, 0.88), (-1, 0))
# Kinds of products: outline, how far its corners are cut; bounds of its width in lengths, and of its length in those of
# a tote; prints, from which u on it has the accent's colour (a cap, a weld); rounding, height and gloss.
PRODUCTS = (
    (BOX, 0.03, (0.4, 0.95), (0.22, 0.5), (gradient, stripes, checks), 1.0, (0.05, 0.05, 0.15)),
    (BOX, 0.03, (0.62, 0.8), (0.28, 0.42), (gradient, stripes), 0.97, (0.03, 0.03, 0.12)),  # books
    (BOX, 0.03, (0.42, 0.62), (0.2, 0.3), (stripes, checks, dots), 0.93, (0.5, 0.45, 0.6)),  # cans
    (POUCH, 0.06, (0.55, 0.8), (0.24, 0.44), (clouds, stripes, dots), 0.9, (0.4, 0.2, 0.45)),
    (BAG, 0.15, (0.6, 0.85), (0.28, 0.5), (clouds,), 1.0, (0.35, 0.2, 0.4)),
    (BOTTLE, 0.08, (0.24, 0.42), (0.28, 0.5), (gradient, stripes, dots), 0.8, (0.34, 0.3, 0.5)),
    (BOTTLE, 0.2, (0.3, 0.45), (0.2, 0.36), (gradient, clouds), 0.7, (0.3, 0.25, 0.3)),  # tubes
    (DISC, 0.0, (1.0, 1.0), (0.13, 0.24), (stripes, dots, checks), 1.0, (0.8, 0.7, 0.5)),  # balls
)


def make_product(kind: int, rng: Generator) -> tuple[Thing, float]:
    """A product of a kind, whose ``u`` points along its length, and that length in lengths of a tote.

    It has its own two colours and a print: a pattern, smaller than those of grounds, and on it a label in the accent
    with lines of words, too small to read.
    """
    half, cut, aspects, lengths, patterns, ends, finish = PRODUCTS[kind]
    aspect, pattern = rng.uniform(*aspects), patterns[rng.integers(len(patterns))]
    own = rng.choice(COLOURS) * np.float32(rng.uniform(0.85, 1.05))
    accent = max(rng.choice(COLOURS, 3), key=lambda it: np.abs(it - own).max())  # which stands out from it
    seed, strength = int(rng.integers(2**32)), rng.uniform(0.1, 1)
    (x, y), (a, b) = rng.uniform(-0.4, 0.4, 2).tolist(), rng.uniform(0.2, 0.5, 2).tolist()

    def coat(u, v):
        share = strength * pattern(v / 3, u / 3, np.random.default_rng(seed))  # the same on every copy
        label = np.maximum(np.abs(u - x) / a, np.abs(v / aspect - y) / b)
        ink = (label < 0.8) & (np.sin(v * 80) > 0) & (np.sin(u * 50 + np.sin(v * 20) * 9) > -0.7)
        return np.where(ink, np.float32(0.3), 1), np.where((label < 1) | (np.abs(u) > ends), 1, share)

    loop = soften(mirrored(half) * [1, aspect], cut, times=2)
    return Thing([loop], *finish, coat, (own, accent)), rng.uniform(*lengths)
