"""Choose what lies in a tote, and where: unlike products in a heap, copies of one often side by side.

Maps are [H, W]; "fine" ones are FINE times larger. Positions are (x, y) in pixels.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from damamba.datasets.placing import Heap, Pose, fine_overlap, pose_of
from damamba.datasets.products import Product, pick_product
from damamba.datasets.totes import Tote, fill

MIN_VISIBLE = 0.22  # of a product's area
MIN_PIXELS = 16  # visible ones
LOOK_ALIKE = 0.55  # the chance that a mixed tote has copies of a product
BESIDE = 0.8  # the chance that a copy lies beside the one before it
INSIDE = 0.95  # the share of a product that lies over the tote's inside
FILLED = 1.2  # the areas of all products, in areas of the floor, at most
LARGEST = 1.15  # how much larger than usual a product can be
TRIES = 20  # for each product


def choose(count: int, mixed: bool, rng: Generator) -> list[Product]:
    """``count`` products: of one kind alone, or unlike ones with, at times, a few copies of some."""
    if not mixed:
        return [pick_product(rng)] * count
    products: list[Product] = []
    alike = rng.random() < LOOK_ALIKE
    while len(products) < count:
        copies = int(rng.integers(2, 7)) if alike and rng.random() < 0.22 else 1
        products += [pick_product(rng)] * min(copies, count - len(products))
    return products


def pack(
    products: Sequence[Product], tote: Tote, height: int, width: int, category: int, rng: Generator
) -> tuple[Heap, list[Product]]:
    """Heap the products up, the first lowest; return the heap, and which product each item in it is.

    Each is seen in part at least. One for which there is no room is left out.
    """
    heap, chosen = Heap(height, width, MIN_VISIBLE, MIN_PIXELS), []
    inside = fill(tote.project(tote.opening(wider=0.02)), height, width)
    size = tote.scale * fitting(products, tote) * rng.uniform(0.85, 1.1)
    for product in products:
        for attempt in range(TRIES):
            last = heap.items[-1].region if chosen and chosen[-1] is product else None
            if last is None:  # smaller and smaller, until it fits
                pose = place_freely(heap, tote, product, product.length * size * 0.96**attempt, category, rng)
            elif rng.random() < BESIDE:
                pose = place_beside(last, product, category, rng)
            else:
                pose = place_freely(heap, tote, product, last.radius, category, rng)
            if lies_in(inside, pose) and heap.put([pose], pose):
                chosen.append(product)
                break
    return heap, chosen


def fitting(products: Sequence[Product], tote: Tote) -> float:
    """How much larger or smaller the products are to be, so that they make a heap and still can all be seen."""
    total = sum(product.length**2 * product.aspect for product in products)
    return min(math.sqrt(FILLED * tote.floor[0] * tote.floor[1] / total), LARGEST)


def lies_in(inside: np.ndarray, pose: Pose) -> bool:
    frame, own = fine_overlap(pose, inside.shape)
    within = np.count_nonzero(inside[frame] & pose.mask[own])
    return within >= INSIDE * np.count_nonzero(pose.mask)


def place_beside(last: Pose, product: Product, category: int, rng: Generator) -> Pose:
    """Next to the copy before, long side by long side, or end to end."""
    angle = last.angle + rng.normal(0, 0.07) + math.pi * rng.integers(2)
    lengthwise = rng.random() < 0.2
    away = last.angle + (0.0 if lengthwise else math.pi / 2) + math.pi * rng.integers(2)
    far = 2 * last.radius * (1.0 if lengthwise else product.aspect) * rng.uniform(0.9, 1.08)
    centre = (last.centre[0] + far * math.cos(away), last.centre[1] + far * math.sin(away))
    return pose_of(category, centre, last.radius, angle, product.outline)


def place_freely(heap: Heap, tote: Tote, product: Product, radius: float, category: int, rng: Generator) -> Pose:
    """Anywhere on the floor; of several places often the one farthest from all that lies there."""
    reach = np.maximum(np.array(tote.floor) - 0.55 * radius / tote.scale, 0.05)
    places = tote.project(rng.uniform(-1, 1, (5, 2)) * reach, tote.depth)
    if heap.items and rng.random() < 0.7:
        regions = [item.region for item in heap.items]
        gaps = [np.hypot(*(places - region.centre).T) - region.radius for region in regions]
        places = places[[np.min(gaps, 0).argmax()]]
    straight = tote.angle + math.pi / 2 * rng.integers(4) + rng.normal(0, 0.05)
    angle = straight if rng.random() < 0.3 else rng.uniform(0, 2 * math.pi)
    return pose_of(category, (float(places[0][0]), float(places[0][1])), radius, angle, product.outline)
