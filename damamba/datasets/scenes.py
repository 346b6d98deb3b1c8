"""Draw a scene: things of several classes on a ground, one above another, all in one light.

Maps are [H, W] or [H, W, 3]; "fine" ones are FINE times larger. Colours are BGR in 0 ... 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from damamba.datasets.grounds import FINE, PALETTES, Palette, draw_ground
from damamba.datasets.placing import Heap, Item, Pose, overlap, place
from damamba.datasets.things import CLASSES, KINDS

MIN_SIZE, MAX_SIZE = 64, 2048
SHADOW = 0.42  # how much darker a shadow is
VIGNETTE = 0.16  # how much darker the corners are
NOISE = 0.008


class DemoError(ValueError):
    """An argument that makes no sense, or a folder that must not be written to; one sentence."""


@dataclass(frozen=True)
class Thing:
    """One object of a scene, or one crowd."""

    category: int  # index into CLASSES
    mask: np.ndarray  # [H, W] bool: what is visible of it
    fine: np.ndarray  # [H * FINE, W * FINE] bool: the same, finer
    hidden: float  # the share of its area that others cover
    crowd: bool


@dataclass(frozen=True)
class Scene:
    """A picture and what is on it, from the lowest to the uppermost."""

    picture: np.ndarray  # [H, W, 3] uint8, BGR as OpenCV has it
    things: list[Thing]


def draw_scene(size: int, seed: int | Sequence[int]) -> Scene:
    """Draw a square scene of ``size`` pixels a side; the same seed, as numpy's SeedSequence takes it, gives the same.

    Masks don't overlap; each is the thing's shape, less its holes, less what lies above it, cut by the frame.
    Raises DemoError for a size that is not in 64 ... 2048.
    """
    check_size(size)
    rng = np.random.default_rng(seed)
    heap = place(size, rng)
    return Scene(paint(heap, size, rng), [thing(heap, number, size) for number in range(len(heap.items))])


def check_number(name: str, value: int, low: int, high: int) -> None:
    if not isinstance(value, int) or not low <= value <= high:
        raise DemoError(f'{name} is an integer from {low} to {high}, not {value}')


def check_size(size: int) -> None:
    check_number('the size of a picture, pixels a side,', size, MIN_SIZE, MAX_SIZE)


def thing(heap: Heap, number: int, size: int) -> Thing:
    fine = heap.top == number
    shares = cv2.resize(fine.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    item = heap.items[number]
    return Thing(item.region.category, shares > 0.5, fine, heap.hidden(number), item.crowd)


def paint(heap: Heap, size: int, rng: Generator) -> np.ndarray:
    """The picture: [size, size, 3] uint8."""
    palette = PALETTES[rng.integers(len(PALETTES))]
    angle, rise = rng.uniform(-0.9, -0.1) * math.pi, rng.uniform(0.8, 1.0)  # y points down: the light is above
    light = np.array([math.cos(angle) * math.cos(rise), math.sin(angle) * math.cos(rise), math.sin(rise)])
    canvas = draw_ground(size, palette, rng)
    for item, colour in zip(heap.items, choose_colours(heap.items, rng), strict=True):
        for number, part in enumerate(item.parts):
            paint_thing(canvas, part, *shades(palette, (colour + number % 3) % 6, rng), light)
    canvas *= lamp(size, light)[..., None]
    canvas += rng.normal(0, NOISE, canvas.shape).astype(np.float32)
    return np.clip(canvas * 255 + 0.5, 0, 255).astype(np.uint8)


def choose_colours(items: list[Item], rng: Generator) -> list[int]:
    """For each item a colour of the palette that no item right under it has, as far as there are enough."""
    chosen: list[int] = []
    for item in items:
        order = rng.permutation(6).tolist()
        taken = [chosen[number] for number in item.upon]
        chosen.append(next((colour for colour in order if colour not in taken), order[0]))
    return chosen


def shades(palette: Palette, colour: int, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """A thing's colour, and its accent: a very pale shade of it, or on a pale thing a deep one."""
    own = np.clip(palette.things[colour] + rng.uniform(-0.03, 0.03, 3), 0, 1).astype(np.float32)
    accent = 0.85 + 0.13 * own if own.mean() < 0.72 else 0.45 * own
    return own, accent


def paint_thing(canvas: np.ndarray, pose: Pose, own: np.ndarray, accent: np.ndarray, light: np.ndarray) -> None:
    """Paint a thing and its shadow on what is there."""
    shape = (pose.mask.shape[1] // FINE, pose.mask.shape[0] // FINE)
    fine = pose.mask.astype(np.float32)
    alpha = cv2.resize(fine, shape, interpolation=cv2.INTER_AREA)
    colours = coat(pose, own, accent)
    shade, shine = relief(pose, light)
    colours = (colours * shade[..., None] + shine[..., None]) * fine[..., None]
    colours = cv2.resize(colours, shape, interpolation=cv2.INTER_AREA)
    cast_shadow(canvas, pose, alpha, light)
    frame, patch = overlap(pose.corner, alpha.shape, canvas.shape)
    canvas[frame] = canvas[frame] * (1 - alpha[patch][..., None]) + np.clip(colours[patch], 0, 1)


def coat(pose: Pose, own: np.ndarray, accent: np.ndarray) -> np.ndarray:
    """The colours of a patch without any light: [h * FINE, w * FINE, 3]."""
    height, width = pose.mask.shape
    x = ((np.arange(width, dtype=np.float32) + 0.5) / FINE + pose.corner[0] - pose.centre[0]) / pose.radius
    y = ((np.arange(height, dtype=np.float32) + 0.5) / FINE + pose.corner[1] - pose.centre[1]) / pose.radius
    x, y = x.astype(np.float32)[None], y.astype(np.float32)[:, None]
    cos, sin = np.float32(math.cos(pose.angle)), np.float32(math.sin(pose.angle))
    tone, share = KINDS[CLASSES[pose.category]].coat(x * cos + y * sin, y * cos - x * sin, pose.loops)
    tone, share = (np.broadcast_to(np.float32(it), pose.mask.shape)[..., None] for it in (tone, share))
    return (own + share * (accent - own)) * tone


def relief(pose: Pose, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How bright each point of a patch is lit (about 1 where it lies flat), and how much of the lamp it mirrors."""
    kind, unit = KINDS[CLASSES[pose.category]], pose.radius * FINE
    inward = cv2.distanceTransform(pose.mask, cv2.DIST_L2, 5)
    edge = 1 - np.minimum(inward / (kind.rounding * unit), 1)
    height = kind.height * unit * np.sqrt(1 - edge * edge)
    height = cv2.GaussianBlur(height, (0, 0), 0.03 * unit + 0.5)
    down, right = np.gradient(height)
    length = np.sqrt(1 + right * right + down * down)
    lit = (light[2] - right * light[0] - down * light[1]) / length
    half = light + np.array([0, 0, 1])  # between the lamp and the eye
    half /= np.linalg.norm(half)
    mirrored = np.maximum((half[2] - right * half[0] - down * half[1]) / length, 0)
    shade = 0.5 + 0.5 * np.clip(lit / light[2], 0, 1.25) - 0.18 * np.clip(1 - inward / (0.08 * unit), 0, 1)
    return shade.astype(np.float32), (kind.gloss * (mirrored**40 - half[2] ** 40).clip(0)).astype(np.float32)


def cast_shadow(canvas: np.ndarray, pose: Pose, alpha: np.ndarray, light: np.ndarray) -> None:
    """Darken what lies away from the light, softly."""
    far = 0.14 * pose.radius + 1
    margin = int(3 * far) + 2
    spread = cv2.copyMakeBorder(alpha, *[margin] * 4, cv2.BORDER_CONSTANT, value=0)
    shift = -light[:2] / np.hypot(*light[:2]) * far
    moved = cv2.warpAffine(spread, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), spread.shape[::-1])
    soft = cv2.GaussianBlur(moved, (0, 0), 0.6 * far)
    corner = (pose.corner[0] - margin, pose.corner[1] - margin)
    frame, patch = overlap(corner, soft.shape, canvas.shape)
    canvas[frame] *= 1 - SHADOW * soft[patch][..., None]


def lamp(size: int, light: np.ndarray) -> np.ndarray:
    """Brighter towards the light, darker in the corners: [size, size]."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = axis[None], axis[:, None]
    slope = 0.05 * (x * light[0] + y * light[1]) / np.hypot(*light[:2])
    return (1.02 + slope - VIGNETTE * ((x * x + y * y) / 2) ** 1.5).astype(np.float32)
