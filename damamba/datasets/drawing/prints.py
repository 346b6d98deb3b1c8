"""What is printed on products: faces [h, w, 3] in BGR, 0 ... 1.

All sizes are shares of the face, so that a print can be of any resolution.
"""

import cv2
import numpy as np
from numpy.random import Generator

from damamba.datasets.drawing.grounds import bgr

LENGTH = 192  # pixels along u
KRAFT = bgr('b98d5e a67c52 c49a6c')
HUES = (2, 8, 24, 40, 52, 95, 140, 175, 205, 212, 222, 235, 275, 330)  # degrees; most brands are red, yellow or blue
WHITE, INK = np.float32([0.93, 0.94, 0.95]), np.float32([0.1, 0.1, 0.11])

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in 0 ... 1


def paper(aspect: float, colour: np.ndarray) -> np.ndarray:
    """A plain face; ``aspect`` is its height in lengths."""
    return np.full((max(round(LENGTH * aspect), 8), LENGTH, 3), colour, np.float32)


def pick_colour(rng: Generator) -> np.ndarray:
    """A colour as packages have it: mostly strong, at times white or black."""
    if rng.random() < 0.28:
        return (WHITE if rng.random() < 0.65 else INK) * np.float32(rng.uniform(0.85, 1.05))
    hue = rng.choice(HUES) + rng.normal(0, 9)
    hsv = np.float32([[[hue % 360, rng.beta(3, 2), rng.uniform(0.3, 0.95)]]])
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0]


def contrast(colour: np.ndarray, rng: Generator) -> np.ndarray:
    """A colour that can be read on another one."""
    found = pick_colour(rng)
    if np.abs(found - colour).max() < 0.35:
        return INK if colour.mean() > 0.5 else WHITE
    return found


def corners(face: np.ndarray, box: Box) -> tuple[int, int, int, int]:
    height, width = face.shape[:2]
    x0, y0, x1, y1 = box
    return round(x0 * width), round(y0 * height), max(round(x1 * width), 1) - 1, max(round(y1 * height), 1) - 1


def fill(face: np.ndarray, box: Box, colour: np.ndarray) -> None:
    x0, y0, x1, y1 = corners(face, box)
    cv2.rectangle(face, (x0, y0), (x1, y1), colour.tolist(), cv2.FILLED)


def oval(face: np.ndarray, box: Box, colour: np.ndarray) -> None:
    x0, y0, x1, y1 = corners(face, box)
    axes = (max((x1 - x0) // 2, 1), max((y1 - y0) // 2, 1))
    cv2.ellipse(face, ((x0 + x1) // 2, (y0 + y1) // 2), axes, 0, 0, 360, colour.tolist(), cv2.FILLED, cv2.LINE_AA)


def text(face: np.ndarray, box: Box, colour: np.ndarray, rows: int, rng: Generator) -> None:
    """Lines of words, too small to read."""
    x0, y0, x1, y1 = box
    pitch = (y1 - y0) / rows
    for row in range(rows):
        x, end = x0, x1 - rng.uniform(0, 0.35) * (x1 - x0)
        while x < end:
            long = min(rng.uniform(0.06, 0.2) * (x1 - x0), x1 - x)
            fill(face, (x, y0 + (row + 0.2) * pitch, x + long, y0 + (row + 0.75) * pitch), colour)
            x += long + 0.035 * (x1 - x0)


def title(face: np.ndarray, box: Box, colour: np.ndarray, rng: Generator) -> None:
    """A word in big letters."""
    x0, y0, x1, y1 = corners(face, box)
    word = ''.join(rng.choice(list('ABDEGHKLMNORSTUXZ'), int(rng.integers(3, 7))))
    (width, height), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, 1.0, 2)
    scale = min((x1 - x0) / width, (y1 - y0) / height)
    thick = max(round(2.2 * scale), 1)
    cv2.putText(face, word, (x0, y1), cv2.FONT_HERSHEY_DUPLEX, scale, colour.tolist(), thick, cv2.LINE_AA)


def barcode(face: np.ndarray, box: Box, rng: Generator) -> None:
    x0, y0, x1, y1 = box
    fill(face, box, WHITE)
    edges = x0 + (x1 - x0) * (0.08 + 0.84 * np.cumsum(rng.uniform(0.4, 1.6, 19)) / 19 / 1.05)
    for left, right in zip(edges[::2], edges[1::2], strict=False):
        fill(face, (left, y0 + 0.12 * (y1 - y0), right, y1 - 0.15 * (y1 - y0)), INK)


def label(face: np.ndarray, box: Box, rng: Generator) -> None:
    """A white address label: a few lines and a barcode."""
    x0, y0, x1, y1 = box
    fill(face, box, WHITE)
    across, along = x1 - x0, y1 - y0
    text(face, (x0 + 0.08 * across, y0 + 0.06 * along, x1 - 0.1 * across, y0 + 0.5 * along), INK, 3, rng)
    barcode(face, (x0 + 0.05 * across, y0 + 0.52 * along, x1 - 0.05 * across, y1), rng)


def artwork(face: np.ndarray, box: Box, ground: np.ndarray, rng: Generator) -> None:
    """What a brand puts on its package: a field, a picture of something round, its name, small print."""
    x0, y0, x1, y1 = box
    across, along = x1 - x0, y1 - y0
    field, spot = contrast(ground, rng), pick_colour(rng)
    cut = rng.uniform(0.3, 0.65)
    fill(face, (x0, y0, x0 + cut * across, y1) if rng.random() < 0.5 else (x0, y0 + cut * along, x1, y1), field)
    x, y, far = x0 + rng.uniform(0.3, 0.7) * across, y0 + rng.uniform(0.35, 0.7) * along, rng.uniform(0.15, 0.28)
    oval(face, (x - far * across, y - far * along, x + far * across, y + far * along), spot)
    name = (x0 + 0.1 * across, y0 + 0.1 * along, x0 + rng.uniform(0.55, 0.9) * across, y0 + 0.36 * along)
    title(face, name, contrast(ground, rng), rng)
    text(
        face, (x0 + 0.1 * across, y1 - 0.25 * along, x0 + 0.6 * across, y1 - 0.06 * along), contrast(field, rng), 3, rng
    )


def stripes(face: np.ndarray, colour: np.ndarray, rng: Generator) -> None:
    """Bands across the length."""
    for _ in range(int(rng.integers(1, 4))):
        x, wide = rng.uniform(0, 0.9), rng.uniform(0.03, 0.15)
        fill(face, (x, 0, x + wide, 1), colour)


def fields(aspect: float, rng: Generator) -> np.ndarray:
    """A face of like fields, each as dark at its edges as a package is at its own; mostly with a brand's artwork."""
    columns, colour = int(rng.integers(2, 4)), pick_colour(rng)
    lines = max(round(columns * aspect * rng.uniform(0.7, 1.6)), 1)
    field = np.full((LENGTH, LENGTH, 3), colour, np.float32)
    if rng.random() < 0.75:
        artwork(field, (0, 0, 1, 1), colour, rng)
    size = LENGTH // columns, max(round(LENGTH * aspect / lines), 8)
    return np.tile(cv2.resize(field * edges(0.72)[..., None], size, interpolation=cv2.INTER_AREA), (lines, columns, 1))


def edges(tone: float) -> np.ndarray:
    """1, and down to ``tone`` at the edges: [LENGTH, LENGTH]."""
    inward = np.minimum(np.arange(LENGTH), np.arange(LENGTH)[::-1]) / (0.05 * LENGTH)
    near = np.minimum(np.minimum(inward[:, None], inward[None]), 1).astype(np.float32)
    return tone + (1 - tone) * near


def side_by_side(face: np.ndarray, columns: int, lines: int, standing: bool) -> tuple[np.ndarray, np.ndarray]:
    """Copies of a face in a grid, with dark gaps: a face [h, w, 3], and its relief [h, w] in radii of all of it."""
    width = LENGTH // columns
    height = max(round(width * face.shape[0] / face.shape[1]), 8)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    far = np.hypot(x, y) if standing else np.maximum(np.abs(y), x**4)
    one = cv2.resize(face, (width, height), interpolation=cv2.INTER_AREA)
    one = np.where((far < 1)[..., None], one, np.float32(0.2))
    dome = 0.25 / columns * np.sqrt(np.clip(1 - far**4, 0, 1))
    return np.tile(one, (lines, columns, 1)), np.tile(dome, (lines, columns)).astype(np.float32)


def mottle(face: np.ndarray, strength: float, rng: Generator) -> np.ndarray:
    """Uneven in brightness, coarsely and finely."""
    height, width = face.shape[:2]
    coarse = cv2.resize(rng.normal(0, 1, (4, 6)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    fine = rng.normal(0, 0.5, (height, width)).astype(np.float32)
    return face * (1 + strength * (coarse + fine))[..., None]


def wrinkles(shape: tuple[int, int], rng: Generator) -> np.ndarray:
    """How a thin skin is creased: ridges in all directions, -0.5 ... 0.5, [h, w]."""
    total = np.zeros(shape, np.float32)
    for cells, depth in (((4, 5), 0.2), ((7, 11), 0.2), ((13, 18), 0.14)):
        small = rng.normal(0, 1, cells).astype(np.float32)
        total += depth * np.abs(cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC))
    return 0.5 - total
