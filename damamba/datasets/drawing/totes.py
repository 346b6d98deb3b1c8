"""Draw what a camera over a robot's cell sees: a tote, a plate with a rim upon it, and a heap of products in it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator

from damamba.datasets.drawing.grounds import FINE, bgr, draw_ground
from damamba.datasets.drawing.heap import WALL, Heap, Placed, Visible, place_thing, turned
from damamba.datasets.drawing.light_and_shadow import paint_thing, photograph, pick_light
from damamba.datasets.drawing.scenes import Scene, check_number
from damamba.datasets.drawing.things import PRODUCTS, Thing, make_product, mirrored, soften

LONG_SIDE = ('the longest side of the pictures, in pixels,', 160, 2448)
FLOORS = bgr('8f8b84 6f7276 a39d92 5b6064 2c2e31 aab0b4')  # concrete, belts, steel
PLASTICS = bgr('8b9196 7d858c c9a227 d8b53a 2f5f9e 27508a 3a3d41 34373b')  # grey, yellow, blue, black
RIM, SIDE = 0.075, 0.1  # how broad a tote's rim and its sides look, in half lengths of it
MAX_OBJECTS = 40
MIN_VISIBLE, MIN_PIXELS = 0.22, 16  # of a product: a share of its area, and visible pixels
COPIES = {1: 0.88, 2: 0.07, 3: 0.05}  # of a product in a mixed tote, and how often
FILLED = 1.2  # at most: the areas of all products, in areas of the floor
LARGEST = 1.15  # at most: how much larger a product is than usual
SCALES = np.repeat(0.88 ** np.arange(12), 5)  # at which a product is tried, until there is room
NOISE = (0.004, 0.018)


class View(NamedTuple):
    """What the pictures of a subset have in common."""

    width: int  # of the real pictures, in pixels
    height: int
    mean: float  # objects per picture
    spread: float  # of its logarithm
    reach: tuple[float, float]  # bounds of the tote's length, in picture widths
    mixed: bool  # unlike products, or copies of one
    classes: tuple[str, ...]


VIEWS = {
    'mix-object-tote': View(2448, 2048, 10.5, 0.6, (0.86, 0.98), True, ('Tote', 'Object')),
    'zoomed-out-tote-transfer-set': View(2046, 2046, 7.5, 0.6, (0.46, 0.6), True, ('Tote', 'Object')),
    'same-object-transfer-set': View(2048, 1500, 3.8, 0.5, (0.9, 1.08), False, ('Object',)),
}


def draw_tote_scene(subset: str, long_side: int, seed: int | Sequence[int]) -> Scene:
    """Draw a scene as a subset has them; the same seed, as numpy's SeedSequence takes it, gives the same.

    The tote comes first, where there is a class for it, then the objects from the lowest to the uppermost. Masks of
    objects are what is visible of them; the tote's is all that its outline encloses, cut by the frame, and so overlaps
    with them. Raises DemoError for a ``long_side`` that is not in 160 ... 2448.
    """
    check_number(long_side, *LONG_SIDE)
    view, rng = VIEWS[subset], np.random.default_rng(seed)
    plate, rim, heap = fill_tote(view, long_side, rng)
    height, width = np.array(heap.top.shape) // FINE
    light = pick_light(rng)
    canvas = draw_ground(height, width, FLOORS[rng.integers(len(FLOORS))] * np.float32([[0.75], [1]]), rng)
    for placed in [plate, rim, *heap.items]:
        paint_thing(canvas, placed, *placed.thing.colours, light)
    canvas *= rng.uniform(0.95, 1.05, 3).astype(np.float32) * np.float32(rng.uniform(0.78, 1.08))  # tint and exposure
    canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.3, 0.6))  # a soft lens
    things = heap.see()
    if 'Tote' in view.classes:
        things.insert(0, Visible(view.classes.index('Tote'), plate.spread(heap.top) > 0, holder=True))
    return Scene(photograph(canvas, light, rng.uniform(*NOISE), rng), things)


def place_tote(height: int, width: int, reach: tuple[float, float], rng: Generator) -> list[Placed]:
    """The plate of a tote, with its sides, and its rim, somewhere near the middle."""
    ratio, half = rng.uniform(0.66, 0.8), rng.uniform(*reach) * width / 2
    spare = np.maximum([width / 2 - half, height / 2 - ratio * half], 0.02 * width)
    centre, angle = rng.uniform(-0.5, 0.5, 2) * spare + [width / 2, height / 2], rng.normal(0, 0.035)

    def sides(u, v):
        inward = np.minimum(1 - np.abs(u), ratio - np.abs(v)) - RIM
        return np.where(inward < SIDE, 0.55, np.clip(0.6 + inward, 0, 0.85)), 0.0

    plastic = PLASTICS[rng.integers(len(PLASTICS))]
    outer, inner = (soften(mirrored([(1 - it, ratio - it), (it - 1, ratio - it)]), 0.06) for it in (0, RIM))
    plate = Thing([outer], 0.05, 0.05, 0.0, sides, (plastic, plastic))
    rim = Thing([outer, inner], 0.04, 0.04, 0.3, colours=(plastic, plastic))
    return [place_thing(part, 0, centre, half, angle) for part in (plate, rim)]


def fill_tote(view: View, long_side: int, rng: Generator) -> tuple[Placed, Placed, Heap]:
    """A tote's plate and rim, and the products in it, the first lowest, each where there is room.

    Each is made smaller and smaller until it fits, and is seen in part at least; one that does not is left out.
    """
    height, width = (round(side * long_side / LONG_SIDE[-1]) for side in (view.height, view.width))
    plate, rim = place_tote(height, width, view.reach, rng)
    heap = Heap(height, width, MIN_PIXELS)
    heap.top[plate.spread(heap.top) <= rim.spread(heap.top)] = WALL
    products, category = pick_products(view, rng), view.classes.index('Object')
    floor = plate.thing.loops[0].max(0) - RIM - SIDE / 2  # half its length and width, in half lengths of the tote
    areas = [np.ptp(product.loops[0], 0).prod() * length**2 for product, length in products]
    larger = min(math.sqrt(FILLED * 4 * floor.prod() / sum(areas)), LARGEST) * rng.uniform(0.85, 1.1)
    turn = math.pi / 2 * (rng.integers(4) + rng.uniform(0.1, 0.9))  # of copies; none lies along the picture's sides
    for product, length in products:
        for radius in length * larger * SCALES:
            places = rng.uniform(-1, 1, (4, 2)) * np.maximum(floor - 0.6 * radius, 0.05)
            centre = heap.roomiest(plate.radius * turned(places, plate.angle) + plate.centre)
            angle = rng.uniform(0, 2 * math.pi) if view.mixed else rng.normal(turn, 0.1)
            if heap.put(place_thing(product, category, centre, radius * plate.radius, angle), MIN_VISIBLE):
                break
    return plate, rim, heap


def pick_products(view: View, rng: Generator) -> list[tuple[Thing, float]]:
    """Products with their lengths, most often fewer than the mean, at times many more."""
    count = round(rng.lognormal(math.log(view.mean) - view.spread**2 / 2, view.spread))
    count = min(max(count, 1), MAX_OBJECTS)
    products = []
    while len(products) < count:
        for kind in rng.permutation(len(PRODUCTS)):  # none comes again before all others came
            copies = rng.choice(list(COPIES), p=list(COPIES.values())) if view.mixed else count
            products += [make_product(kind, rng)] * copies
    return products[:count]
