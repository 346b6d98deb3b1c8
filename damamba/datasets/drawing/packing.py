"""Choose what lies in a tote, and where: unlike products in a heap, or copies of one, in order or in a careless pile.

Maps are [H, W]; "fine" ones are FINE times larger. Positions are (x, y) in pixels. Places of copies are [N, 3]: (u, v)
in radii and a turn, in a plane whose u points along the products.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import Generator

from damamba.datasets.drawing.grounds import FINE
from damamba.datasets.drawing.placing import Heap, Pose, fine_overlap, pose_of
from damamba.datasets.drawing.products import REPEATED, Product, pick_product
from damamba.datasets.drawing.totes import Tote, fill

MIN_VISIBLE = 0.22  # of a product's area
MIN_PIXELS = 16  # visible ones
LOOK_ALIKE = 0.55  # the chance that a mixed tote has copies of a product
BESIDE = 0.8  # the chance that a copy lies beside the one before it
INSIDE = 0.95  # the share of a product that lies over the tote's inside
FILLED = 1.2  # the areas of all products, in areas of the floor, at most
LARGEST = 1.15  # how much larger than usual a product can be
LARGEST_ALONE = 1.7  # the same, of one that is alone with its copies
TRIES = 20  # for each product, or each way to lay out copies
LOOSE = 0.15  # the chance that copies of one alone lie as they do in a mixed tote


def choose(count: int, rng: Generator) -> list[Product]:
    """``count`` unlike products with, at times, a few copies of some."""
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
    inside = inside_of(tote, height, width)
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


def inside_of(tote: Tote, height: int, width: int) -> np.ndarray:
    return fill(tote.project(tote.opening(wider=0.02)), height, width)


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


def repeat(
    count: int, tote: Tote, height: int, width: int, category: int, rng: Generator
) -> tuple[Heap, list[Product]]:
    """Put copies of one product in the tote, mostly in order; return what ``pack`` does.

    Where they find no room in that order, they lie loose.
    """
    product = pick_product(rng, REPEATED)
    orders = list(ORDERS)
    order = orders[rng.choice(len(orders), p=list(ORDERS.values()))]
    for _ in range(TRIES if rng.random() >= LOOSE else 0):
        heap = Heap(height, width, MIN_VISIBLE, MIN_PIXELS)
        lay_out(order(count, product.aspect, rng), product, tote, heap, category, rng)
        if len(heap.items) == count:
            return heap, [product] * count
    return pack([product] * count, tote, height, width, category, rng)


def lay_out(places: np.ndarray, product: Product, tote: Tote, heap: Heap, category: int, rng: Generator) -> None:
    """Put copies where they are to lie, about as large as the floor allows, until one reaches out or hides too much."""
    inside = inside_of(tote, *(side // FINE for side in heap.top.shape))
    points, radius, angle = settle(places[:, :2], product, np.array(tote.floor), rng)
    depth = tote.depth * rng.uniform(0.2, 0.9)  # it is full up to there
    shrink = tote.scale * tote.distance / (tote.distance + depth)
    for (x, y), turn in zip(tote.project(points, depth), places[:, 2], strict=True):
        pose = pose_of(category, (float(x), float(y)), radius * shrink, tote.angle + angle + turn, product.outline)
        if not lies_in(inside, pose) or not heap.put([pose], pose):
            break


def settle(places: np.ndarray, product: Product, floor: np.ndarray, rng: Generator) -> tuple[np.ndarray, float, float]:
    """Where on the floor copies lie, as half lengths of the tote: [N, 2], their radius, and how they are turned."""
    own = np.array([1, product.aspect])
    low, high = places.min(0) - own, places.max(0) + own
    half = (high - low) / 2
    upright = np.min(floor / half[::-1]) > np.min(floor / half)
    half = half[::-1] if upright else half
    radius = min(np.min(floor / half) * rng.uniform(0.85, 1.02), LARGEST_ALONE * product.length)
    angle = math.pi / 2 * (upright + 2 * rng.integers(2)) + rng.normal(0, 0.03)
    cos, sin = math.cos(angle), math.sin(angle)
    turned = radius * (places - (low + high) / 2) @ np.array([[cos, sin], [-sin, cos]])
    return turned + rng.uniform(-1, 1, 2) * np.maximum(floor - radius * half, 0), float(radius), angle


def rows(count: int, aspect: float, rng: Generator) -> np.ndarray:
    """Edge to edge, as in a case; at times the last ones lie upon the others."""
    upper = int(rng.integers(count // 3 + 1)) if rng.random() < 0.4 else 0
    lower = count - upper
    columns = max(round(math.sqrt(lower * aspect * 1.35 ** rng.choice([-1, 1]))), 1)
    line, column = np.divmod(np.arange(lower), columns)
    pitch = np.array([2, 2 * aspect]) * rng.uniform(0.97, 1.01)
    places = np.stack([column, line], 1) * pitch
    places[:, 0] += rng.normal(0, 0.06, lower)[line]  # lines slide along each other
    above = places[rng.permutation(lower)[:upper]] + rng.uniform(-0.6, 0.6, (upper, 2)) * pitch
    places = np.concatenate([places, above]) + rng.normal(0, 0.012, (count, 2))
    return np.column_stack([places, rng.normal(0, 0.015, count)])


def shingles(count: int, aspect: float, rng: Generator) -> np.ndarray:
    """In one or two rows in which each lies in part upon the one before, like a roof's."""
    per_row = count if count < 7 else -(-count // 2)
    row, number = np.divmod(np.arange(count), per_row)
    lengthwise = rng.random() < 0.35
    along = number * rng.uniform(0.32, 0.7) + np.cumsum(rng.normal(0, 0.03, count))
    across = row * 0.98 + np.cumsum(rng.normal(0, 0.03, count))
    places = np.stack([along, across] if lengthwise else [across, along], 1) * (2, 2 * aspect)
    return np.column_stack([places, np.cumsum(rng.normal(0, 0.035, count))])


def pile(count: int, aspect: float, rng: Generator) -> np.ndarray:
    """Upon one another, each moved on and turned a little."""
    heading = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.normal(0, 0.6, count))
    steps = np.stack([np.cos(heading), np.sin(heading)], 1) * rng.uniform(0.35, 0.7, (count, 1))
    return np.column_stack([np.cumsum(steps, 0) * (2, 2 * aspect), rng.normal(0, 0.12, count)])


# How copies lie, and how often.
ORDERS: dict[Callable[[int, float, Generator], np.ndarray], float] = {rows: 0.5, shingles: 0.3, pile: 0.2}
