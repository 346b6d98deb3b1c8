"""Draw a scene: things of several classes on a ground, one above another, all in one light.

Maps are [H, W] or [H, W, 3]; "fine" ones are FINE times larger. Colours are BGR in 0 ... 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from damamba.datasets.drawing.grounds import PALETTES, Palette, coverage, draw_ground
from damamba.datasets.drawing.lighting import lamp, lay, light_of, own_plane, photograph
from damamba.datasets.drawing.placing import Heap, Item, Pose, place
from damamba.datasets.drawing.things import CLASSES, KINDS

MIN_SIZE, MAX_SIZE = 64, 2048
NOISE = 0.008


class DemoError(ValueError):
    """An argument that makes no sense, or a folder that must not be written to; one sentence."""


@dataclass(frozen=True)
class Thing:
    """One object of a scene, or one crowd."""

    category: int  # index into the classes that there are
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
    return Scene(paint(heap, size, rng), [thing(heap, number) for number in range(len(heap.items))])


def check_number(name: str, value: int, low: int, high: int) -> None:
    if not isinstance(value, int) or not low <= value <= high:
        raise DemoError(f'{name} is an integer from {low} to {high}, not {value}')


def check_size(size: int) -> None:
    check_number('the size of a picture, pixels a side,', size, MIN_SIZE, MAX_SIZE)


def thing(heap: Heap, number: int) -> Thing:
    """What is visible of an item."""
    item, fine = heap.items[number], heap.top == number
    return Thing(item.region.category, majority(fine), fine, heap.hidden(number), item.crowd)


def majority(fine: np.ndarray) -> np.ndarray:
    """The pixels of which a fine mask [H * FINE, W * FINE] has the greater part: [H, W] bool."""
    return coverage(fine) > 0.5


def paint(heap: Heap, size: int, rng: Generator) -> np.ndarray:
    """The picture: [size, size, 3] uint8."""
    palette = PALETTES[rng.integers(len(PALETTES))]
    light = light_of(rng)
    canvas = draw_ground(size, palette, rng)
    for item, colour in zip(heap.items, choose_colours(heap.items, rng), strict=True):
        for number, part in enumerate(item.parts):
            paint_thing(canvas, part, *shades(palette, (colour + number % 3) % 6, rng), light)
    canvas *= lamp(size, size, light)[..., None]
    return photograph(canvas, NOISE, rng)


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
    lay(canvas, pose, coat(pose, own, accent), KINDS[CLASSES[pose.category]].finish, light)


def coat(pose: Pose, own: np.ndarray, accent: np.ndarray) -> np.ndarray:
    """The colours of a patch without any light: [h * FINE, w * FINE, 3]."""
    tone, share = KINDS[CLASSES[pose.category]].coat(*own_plane(pose), pose.loops)
    tone, share = (np.broadcast_to(np.float32(it), pose.mask.shape)[..., None] for it in (tone, share))
    return (own + share * (accent - own)) * tone
