"""Draw a scene of the demo: things of six classes on a ground, one above another, all in one light."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator

from damamba.datasets.drawing.grounds import FINE, PALETTES, draw_ground
from damamba.datasets.drawing.heap import Heap, Placed, Visible, place_thing
from damamba.datasets.drawing.light_and_shadow import paint_thing, photograph, pick_light
from damamba.datasets.drawing.things import SHAPES

SIZE = ('the size of a picture, pixels a side,', 64, 2048)  # its least and its largest
COUNTS = {3: 0.1, 4: 0.2, 5: 0.25, 6: 0.2, 7: 0.15, 8: 0.1}  # things in a picture, and how often
DIAMETERS = (0.18, 0.7)  # of the picture's side
MIN_DIAMETER = 14.0  # pixels
MIN_VISIBLE, MIN_CROWD_VISIBLE = 0.5, 0.8  # of the area of a thing and of a crowd, what the frame cuts off included
MIN_PIXELS = 64  # visible ones
NEIGHBOUR = 0.52  # the chance that a thing is put upon another
CROWD = 0.06  # the chance of a heap of tiny things
TRIES = 300
NOISE = 0.008


class DemoError(ValueError):
    """An argument that makes no sense, or a folder that must not be written to; one sentence."""


@dataclass(frozen=True)
class Scene:
    """A picture and what is on it, from the lowest to the uppermost."""

    picture: np.ndarray  # [H, W, 3] uint8, BGR as OpenCV has it
    things: list[Visible]


def draw_scene(size: int, seed: int | Sequence[int]) -> Scene:
    """Draw a square scene of ``size`` pixels a side; the same seed, as numpy's SeedSequence takes it, gives the same.

    Masks don't overlap; each is the thing's shape, less its holes, less what lies above it, cut by the frame.
    Raises DemoError for a size that is not in 64 ... 2048.
    """
    check_number(size, *SIZE)
    rng = np.random.default_rng(seed)
    heap = heap_up(size, rng)
    palette = PALETTES[rng.integers(len(PALETTES))]
    light = pick_light(rng)
    canvas = draw_ground(size, size, palette[:2], rng)
    for item, colour in zip(heap.items, choose_colours(heap, rng), strict=True):
        for number, part in enumerate(item.crowd or [item]):
            own = palette[2 + (colour + number % 3) % 6] + rng.uniform(-0.03, 0.03, 3)
            own = np.clip(own, 0, 1).astype(np.float32)
            accent = 0.85 + 0.13 * own if own.mean() < 0.72 else 0.45 * own  # very pale, or on a pale thing deep
            paint_thing(canvas, part, own, accent, light)
    return Scene(photograph(canvas, light, NOISE, rng), heap.see())


def check_number(value: int, name: str, low: int, high: int) -> None:
    if not isinstance(value, int) or not low <= value <= high:
        raise DemoError(f'{name} is an integer from {low} to {high}, not {value}')


def heap_up(size: int, rng: Generator) -> Heap:
    """Choose what lies where in a square picture of ``size`` pixels a side."""
    heap = Heap(size, size, MIN_PIXELS)
    if rng.random() < CROWD:
        heap.put(propose_crowd(heap.top, rng), MIN_CROWD_VISIBLE)
    wanted = len(heap.items) + int(rng.choice(list(COUNTS), p=list(COUNTS.values())))
    for _ in range(TRIES):
        if len(heap.items) == wanted:
            break
        heap.put(propose_thing(heap, size, rng), MIN_VISIBLE)
    return heap


def propose_thing(heap: Heap, size: int, rng: Generator) -> Placed:
    """A thing of any class: upon another one, or where there is room; the frame may cut it."""
    low, high = max(DIAMETERS[0] * size, MIN_DIAMETER), DIAMETERS[1] * size
    radius = math.exp(rng.uniform(math.log(low), math.log(high))) / 2
    category = int(rng.integers(len(SHAPES)))
    if not heap.items:  # the first is near the middle
        centre = rng.uniform(0.2 * size, 0.8 * size, 2)
    elif rng.random() < NEIGHBOUR:  # on one that is whole; of several places the one nearest to the middle
        other = heap.items[rng.choice(sorted({*range(len(heap.items))}.difference(*heap.upon)))]
        far, angles = rng.uniform(0.45, 0.85) * (other.radius + radius), rng.uniform(0, 2 * math.pi, 3)
        places = np.array(other.centre) + far * np.stack([np.cos(angles), np.sin(angles)], 1)
        centre = places[np.abs(places - size / 2).max(1).argmin()]
    else:
        centre = heap.roomiest(rng.uniform(0.6 * radius, size - 0.6 * radius, (4, 2)))
    return place_shape(category, centre, radius, rng)


def place_shape(category: int, centre: Sequence[float], radius: float, rng: Generator) -> Placed:
    angle = rng.uniform(0, 2 * math.pi)
    return place_thing(SHAPES[category](rng), category, centre, radius, angle)


def propose_crowd(frame: np.ndarray, rng: Generator) -> Placed:
    """A heap of tiny things of one class; its mask is the region that it takes: the things and the gaps between."""
    size, category, count = len(frame) // FINE, int(rng.integers(len(SHAPES))), int(rng.integers(14, 25))
    radius, middle, turn = max(size / 32, 4.0), rng.uniform(0.28 * size, 0.72 * size, 2), rng.uniform(0, 2 * math.pi)
    parts = []
    for i in range(count):  # a sunflower's order fills a disc evenly
        far, angle = radius * 1.2 * math.sqrt(i + 0.5), turn + i * math.pi * (3 - math.sqrt(5))
        centre = middle + far * np.array([math.cos(angle), math.sin(angle)]) + rng.normal(0, 0.2 * radius, 2)
        parts.append(place_shape(category, centre, radius * rng.uniform(0.85, 1.15), rng))
    mask = np.maximum.reduce([part.spread(frame) for part in parts])
    reach = 2 * round(radius * FINE / 2) + 1
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    far = radius * 1.2 * math.sqrt(count)
    return replace(parts[0], centre=middle.tolist(), radius=far, corner=(0, 0), mask=mask, crowd=parts)


def choose_colours(heap: Heap, rng: Generator) -> list[int]:
    """For each item one of the six colours, and none that an item right under it has, as far as there are enough."""
    chosen: list[int] = []
    for upon in heap.upon:
        order, taken = rng.permutation(6).tolist(), {chosen[number] for number in upon}
        chosen.append(next((colour for colour in order if colour not in taken), order[0]))
    return chosen
