"""One lamp above a scene: how it lights things, the shadows that they cast, and what a camera makes of all.

Maps are [H, W] or [H, W, 3]; "fine" ones are FINE times larger. Colours are BGR in 0 ... 1. A light is the direction
towards the lamp (x, y, z), of length 1; z points at the camera.
"""

import math

import cv2
import numpy as np
from numpy.random import Generator

from damamba.datasets.drawing.grounds import FINE, coverage, turned_grid
from damamba.datasets.drawing.heap import Placed, overlap

SHADOW = 0.42  # how much darker a shadow is
VIGNETTE = 0.16  # how much darker the corners are


def pick_light(rng: Generator) -> np.ndarray:
    angle, rise = rng.uniform(-0.9, -0.1) * math.pi, rng.uniform(0.8, 1.0)  # y points down: the light is above
    return np.array([math.cos(angle) * math.cos(rise), math.sin(angle) * math.cos(rise), math.sin(rise)])


def paint_thing(canvas: np.ndarray, placed: Placed, own: np.ndarray, accent: np.ndarray, light: np.ndarray) -> None:
    """Paint a thing in its own colour and an accent, and its shadow, on what is there."""
    alpha = coverage(placed.mask)  # [h, w]
    x, y = (  # of the fine pixels, in radii from the middle
        ((np.arange(count, dtype=np.float32) + 0.5) / FINE + corner - centre) / placed.radius
        for count, corner, centre in zip(placed.mask.shape[::-1], placed.corner, placed.centre, strict=True)
    )
    tone, share = (np.float32(it)[..., None] for it in placed.thing.coat(*turned_grid(x, y, placed.angle)))
    shade, shine = relief(placed, light)
    colours = (own + share * (accent - own)) * tone
    colours = (colours * shade[..., None] + shine[..., None]) * placed.mask[..., None].astype(np.float32)
    colours = cv2.resize(colours, alpha.shape[::-1], interpolation=cv2.INTER_AREA)  # as pale as they cover little
    cast_shadow(canvas, placed, alpha, light)
    frame, patch = overlap(placed.corner, alpha, canvas)
    canvas[frame] = canvas[frame] * (1 - alpha[patch][..., None]) + np.clip(colours, 0, 1)[patch]


def relief(placed: Placed, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How bright each fine pixel is lit (about 1 where it lies flat), and how much of the lamp it mirrors."""
    thing, unit = placed.thing, placed.radius * FINE
    inward = cv2.distanceTransform(placed.mask, cv2.DIST_L2, 5)
    edge = 1 - np.minimum(inward / (thing.rounding * unit), 1)
    height = thing.height * unit * np.sqrt(1 - edge * edge)
    height = cv2.GaussianBlur(height, (0, 0), 0.03 * unit + 0.5)
    down, right = np.gradient(height)
    length = np.sqrt(1 + right * right + down * down)
    lit = (light[2] - right * light[0] - down * light[1]) / length
    half = light + np.array([0, 0, 1], light.dtype)  # between the lamp and the eye
    half /= np.linalg.norm(half)
    mirrored = np.maximum((half[2] - right * half[0] - down * half[1]) / length, 0)
    shade = 0.5 + 0.5 * np.clip(lit / light[2], 0, 1.25) - 0.18 * np.clip(1 - inward / (0.08 * unit), 0, 1)
    return shade.astype(np.float32), (thing.gloss * (mirrored**40 - half[2] ** 40).clip(0)).astype(np.float32)


def cast_shadow(canvas: np.ndarray, placed: Placed, alpha: np.ndarray, light: np.ndarray) -> None:
    """Darken softly what lies away from the light; ``alpha`` [h, w]: how much of each pixel the thing covers."""
    far = 0.14 * placed.radius + 1
    margin = int(3 * far) + 2
    spread = cv2.copyMakeBorder(alpha, *[margin] * 4, cv2.BORDER_CONSTANT, value=0)
    shift = -light[:2] / np.hypot(*light[:2]) * far
    moved = cv2.warpAffine(spread, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), spread.shape[::-1])
    soft = cv2.GaussianBlur(moved, (0, 0), 0.6 * far)
    frame, patch = overlap(np.subtract(placed.corner, margin), soft, canvas)
    canvas[frame] *= 1 - SHADOW * soft[patch][..., None]


def photograph(canvas: np.ndarray, light: np.ndarray, noise: float, rng: Generator) -> np.ndarray:
    """The picture that a camera takes, [H, W, 3] uint8: brighter towards the light, darker in the corners, noisy."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in canvas.shape[:2]), indexing='ij', sparse=True)
    slope = 0.05 * (x * light[0] + y * light[1]) / np.hypot(*light[:2])
    lamp = (1.02 + slope - VIGNETTE * ((x * x + y * y) / 2) ** 1.5).astype(np.float32)
    canvas = canvas * lamp[..., None] + rng.normal(0, noise, canvas.shape).astype(np.float32)
    return np.clip(canvas * 255 + 0.5, 0, 255).astype(np.uint8)
