"""Draw what a camera over a robot's cell sees: a tote, and products in it.

Colours are BGR in 0 ... 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from damamba.datasets.drawing.cells import draw_cell
from damamba.datasets.drawing.grounds import coverage
from damamba.datasets.drawing.lighting import lamp, lay, light_of, photograph
from damamba.datasets.drawing.packing import choose, pack, repeat
from damamba.datasets.drawing.placing import Heap, Pose, overlap
from damamba.datasets.drawing.products import Product, dress
from damamba.datasets.drawing.scenes import Scene, Thing, check_number, majority, thing
from damamba.datasets.drawing.totes import Tote, fill, paint_tote, pick_tote

MIN_LONG_SIDE, MAX_LONG_SIDE = 160, 2448
MAX_OBJECTS = 40
NOISE = (0.004, 0.018)
CLOSE = 0.85  # how much weaker the shadow of a copy is on another one
WHOLE = 2448  # pixels that the longest side of all has in the real pictures


@dataclass(frozen=True)
class View:
    """What the pictures of a subset have in common."""

    width: int  # of the real pictures, in pixels
    height: int
    mean: float  # objects per picture
    spread: float  # of its logarithm
    reach: tuple[float, float]  # bounds of the tote's length, in picture widths
    mixed: bool  # unlike products, or copies of one
    classes: tuple[str, ...]

    def size(self, long_side: int) -> tuple[int, int]:
        """Height and width in pixels where the longest of all pictures has ``long_side``."""
        return round(self.height * long_side / WHOLE), round(self.width * long_side / WHOLE)


BOTH = ('Tote', 'Object')
VIEWS = {
    'mix-object-tote': View(2448, 2048, 10.5, 0.6, (0.86, 0.98), True, BOTH),
    'zoomed-out-tote-transfer-set': View(2046, 2046, 7.5, 0.6, (0.46, 0.6), True, BOTH),
    'same-object-transfer-set': View(2048, 1500, 3.8, 0.5, (0.9, 1.08), False, ('Object',)),
}


def draw_tote_scene(subset: str, long_side: int, seed: int | Sequence[int]) -> Scene:
    """Draw a scene as a subset has them; the same seed, as numpy's SeedSequence takes it, gives the same.

    Things have the subset's classes, as indices: the tote first, where there is a class for it, then the objects from
    the lowest to the uppermost. Masks of objects are what is visible of them and don't overlap; the tote's is all that
    its outline encloses, cut by the frame, and so overlaps with them. Raises DemoError for a ``long_side`` that is not
    in 160 ... 2448.
    """
    check_long_side(long_side)
    view, rng = VIEWS[subset], np.random.default_rng(seed)
    height, width = view.size(long_side)
    tote, light = pick_tote(height, width, view.reach, rng), light_of(rng).astype(np.float32)
    category = view.classes.index('Object')
    heap, products = fill_tote(view, tote, height, width, category, rng)
    canvas = draw_cell(height, width, tote, light, rng)
    paint_tote(canvas, tote, light, rng)
    (paint_products if view.mixed else paint_copies)(canvas, heap, products, light)
    picture = expose(canvas, light, rng)
    things = [thing(heap, number) for number in range(len(heap.items))]
    if 'Tote' in view.classes:
        things.insert(0, outline(tote, height, width, view.classes.index('Tote')))
    return Scene(picture, things)


def check_long_side(long_side: int) -> None:
    check_number('the longest side of the pictures, in pixels,', long_side, MIN_LONG_SIDE, MAX_LONG_SIDE)


def pick_count(view: View, rng: Generator) -> int:
    """How many objects: most often fewer than the mean, at times many more."""
    found = rng.lognormal(math.log(view.mean) - view.spread**2 / 2, view.spread)
    return int(np.clip(round(found), 1, MAX_OBJECTS))


def fill_tote(
    view: View, tote: Tote, height: int, width: int, category: int, rng: Generator
) -> tuple[Heap, list[Product]]:
    count = pick_count(view, rng)
    if view.mixed:
        return pack(choose(count, rng), tote, height, width, category, rng)
    return repeat(count, tote, height, width, category, rng)


def outline(tote: Tote, height: int, width: int, category: int) -> Thing:
    fine = fill(tote.project(tote.outer()), height, width) > 0
    return Thing(category, majority(fine), fine, 0.0, False)


def paint_products(canvas: np.ndarray, heap: Heap, products: list[Product], light: np.ndarray) -> None:
    for item, product in zip(heap.items, products, strict=True):
        paint_product(canvas, item.region, product, light)


def paint_product(canvas: np.ndarray, pose: Pose, product: Product, light: np.ndarray) -> None:
    colours, bumps = dress(product, pose)
    lay(canvas, pose, colours, product.finish, light, bumps)


def paint_copies(canvas: np.ndarray, heap: Heap, products: list[Product], light: np.ndarray) -> None:
    """As ``paint_products``; but copies, which lie close, keep less light from one another than from the tote."""
    copies = np.zeros(canvas.shape[:2], np.float32)  # how far each pixel is covered by those painted
    for item, product in zip(heap.items, products, strict=True):
        before, own = canvas.copy(), np.zeros_like(copies)
        paint_product(canvas, item.region, product, light)
        alpha = coverage(item.region.mask)
        frame, patch = overlap(item.region.corner, alpha.shape, own.shape)
        own[frame] = alpha[patch]
        unshaded = (CLOSE * copies * (1 - own))[..., None]
        canvas[:] = canvas * (1 - unshaded) + before * unshaded
        copies = np.maximum(copies, own)


def expose(canvas: np.ndarray, light: np.ndarray, rng: Generator) -> np.ndarray:
    """As a camera takes it: more or less light, its tint, a soft lens, noise."""
    height, width = canvas.shape[:2]
    tint = rng.uniform(0.95, 1.05, 3).astype(np.float32) * np.float32(rng.uniform(0.78, 1.08))
    canvas = canvas * lamp(height, width, light)[..., None] * tint
    canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.3, 0.6))
    return photograph(canvas, rng.uniform(*NOISE), rng)
