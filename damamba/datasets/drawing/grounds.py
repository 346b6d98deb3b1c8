"""Palettes, and the grounds on which things lie. Colours are BGR in 0 ... 1, maps [H, W] or [H, W, 3] in float32."""

import math

import cv2
import numpy as np
from numpy.random import Generator

FINE = 3  # edges are drawn this many times larger and reduced; odd, so that a pixel always has one majority


def bgr(text: str) -> np.ndarray:
    """'e63946 457b9d' -> [2, 3]."""
    return np.array([tuple(bytes.fromhex(word))[::-1] for word in text.split()], np.float32) / 255


PALETTES = (  # [8, 3] each: two close colours for the ground, then six for things, all of which stand out from it
    bgr('f5f0e1 e6dcc2 e4572e 17a3a8 f2b705 3d5a80 6aa53a c9405b'),
    bgr('e1ecf4 c6d8e7 1d3557 e63946 3f7fa8 f08a4b 2a9d8f 85529a'),
    bgr('fff3e9 fbdcca d6457a e8706c 4f8a76 eda536 6361b5 3082b5'),
    bgr('eceef1 d2d8de 4a5568 e76f51 22998a e5b53c 6a4c93 1982c4'),
    bgr('dcf2ec bfe0d6 005f73 ca6702 b22a1c 12979a 7b2d8b e89a0c'),
    bgr('eddfc3 dcc8a2 386641 bc4749 1d4e89 85501f 6f9e3f 8444b0'),
    bgr('f3e6ee e2cddb 7a306c 2f6690 d8572a 3c896d db3a6b e3a021'),
)


def coverage(fine: np.ndarray) -> np.ndarray:
    """How much of each pixel a fine mask [H * FINE, W * FINE] covers: [H, W] in 0 ... 1."""
    size = (fine.shape[1] // FINE, fine.shape[0] // FINE)
    return cv2.resize(fine.astype(np.float32), size, interpolation=cv2.INTER_AREA)


def turned_grid(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the points of a grid, x [W] by y [H], lie along axes that are turned: twice [H, W]."""
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    x, y = x[None], y[:, None]
    return x * cos + y * sin, y * cos - x * sin


def noise(size: int, cells: tuple[int, int], rng: Generator) -> np.ndarray:
    """Smooth noise in 0 ... 1 with ``cells`` (x, y) bumps across."""
    small = rng.random((cells[1] + 1, cells[0] + 1), dtype=np.float32)
    return np.clip(cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC), 0, 1)


def hashed(column: np.ndarray | float, row: np.ndarray | float) -> np.ndarray:
    """A fixed pseudo-random value in 0 ... 1 for every cell."""
    return np.modf(np.abs(np.sin(column * 12.9898 + row * 78.233)) * 4375.5453)[0].astype(np.float32)


def gradient(x: np.ndarray, y: np.ndarray, rng: Generator) -> np.ndarray:
    across, glow = rng.uniform(-0.3, 0.3), rng.uniform(0.3, 0.7)
    return np.clip(glow * (x + 0.5) + (1 - glow) * 2.5 * ((x - across) ** 2 + y * y), 0, 1.2)


def stripes(x: np.ndarray, y: np.ndarray, rng: Generator) -> np.ndarray:
    count, share = rng.uniform(6, 14), rng.uniform(0.3, 0.6)
    return (np.mod(x * count, 1) < share).astype(np.float32)


def dots(x: np.ndarray, y: np.ndarray, rng: Generator) -> np.ndarray:
    count, radius = rng.uniform(7, 13), rng.uniform(0.16, 0.3)
    row = np.floor(y * count)
    across = np.mod(x * count + 0.5 * np.mod(row, 2), 1) - 0.5
    along = y * count - row - 0.5
    return (across * across + along * along < radius * radius).astype(np.float32)


def checks(x: np.ndarray, y: np.ndarray, rng: Generator) -> np.ndarray:
    count = rng.uniform(5, 10)
    across, along = np.mod(x * count, 1) < 0.5, np.mod(y * count, 1) < 0.5
    return 0.5 * across + 0.5 * along if rng.random() < 0.6 else (across ^ along).astype(np.float32)


def wood(x: np.ndarray, y: np.ndarray, rng: Generator) -> np.ndarray:
    count = rng.uniform(3, 6)
    board = np.floor(y * count)
    bend = cv2.resize(noise(len(x) // FINE, (3, 6), rng), x.shape[::-1])
    grain = np.sin((y * count * 9 + bend * 9) * 2 + board * 1.7)
    seam = np.mod(y * count, 1) < 0.035
    return np.where(seam, 1.5, 0.25 + 0.18 * grain + 0.5 * hashed(board, 0)).astype(np.float32)


def tiles(x: np.ndarray, y: np.ndarray, rng: Generator) -> np.ndarray:
    count, shift = rng.uniform(3.5, 7), rng.choice([0, 0.5])
    row = np.floor(y * count)
    across = x * count + shift * np.mod(row, 2)
    grout = (np.mod(across, 1) < 0.05) | (np.mod(y * count, 1) < 0.05)
    return np.where(grout, 1.3, 0.55 * hashed(np.floor(across), row)).astype(np.float32)


def clouds(x: np.ndarray, y: np.ndarray, rng: Generator) -> np.ndarray:
    size = len(x) // FINE
    soft = 0.65 * noise(size, (4, 4), rng) + 0.35 * noise(size, (9, 9), rng)
    return cv2.resize(np.clip(soft * 2.6 - 0.8, 0, 1.2), x.shape[::-1])


PATTERNS = (gradient, stripes, dots, checks, wood, tiles, clouds)


def draw_ground(height: int, width: int, colours: np.ndarray, rng: Generator) -> np.ndarray:
    """A picture without things, of one of the patterns in two colours [2, 3]: [height, width, 3] in 0 ... 1."""
    size = max(height, width)
    axis = (np.arange(size * FINE, dtype=np.float32) + 0.5) / (size * FINE) - 0.5  # in picture widths, from the middle
    pattern = PATTERNS[rng.integers(len(PATTERNS))](*turned_grid(axis, axis, rng.uniform(0, math.pi)), rng)
    pattern = cv2.resize(pattern, (size, size), interpolation=cv2.INTER_AREA)
    pattern = pattern * rng.uniform(0.6, 1) + 0.25 * (noise(size, (3, 3), rng) - 0.5)
    first, second = colours[rng.permutation(2)]
    return first + pattern[:height, :width, None] * (second - first)
