"""What lies in a tote: unlike products of a warehouse, each with its outline, its print and its finish.

Units are radii, which are half a product's length; u points along the length.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from damamba.datasets.drawing import prints
from damamba.datasets.drawing.lighting import own_plane
from damamba.datasets.drawing.placing import Pose
from damamba.datasets.drawing.things import Finish, Loops, mirrored, polar, rounded, soften


@dataclass(frozen=True)
class Product:
    """One article. Every copy of it looks the same."""

    kind: str
    aspect: float  # width in lengths
    length: float  # in lengths of the tote
    outline: Loops
    face: np.ndarray  # [h, w, 3]: its print, from u = -1 to 1 and v = -aspect to aspect
    finish: Finish
    bumps: np.ndarray | None = None  # [h, w]: its creases, in radii


def dress(product: Product, pose: Pose) -> tuple[np.ndarray, np.ndarray | None]:
    """The colours and creases of a copy, for all fine pixels of its patch."""
    u, v = own_plane(pose)
    height, width = product.face.shape[:2]
    x, y = (u + 1) * (width / 2) - 0.5, (v / product.aspect + 1) * (height / 2) - 0.5

    def spread(face: np.ndarray) -> np.ndarray:
        return cv2.remap(face, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    return spread(product.face), None if product.bumps is None else spread(product.bumps)


def slab(aspect: float, radius: float = 0.03) -> Loops:
    return [rounded(1.0, aspect, radius)]


def carton(rng: Generator) -> Product:
    aspect = rng.uniform(0.4, 0.95)
    if rng.random() < 0.45:
        face = prints.mottle(prints.paper(aspect, prints.KRAFT[rng.integers(3)]), 0.03, rng)
        prints.fill(face, (0, 0.42, 1, 0.58), prints.KRAFT[rng.integers(3)] * np.float32(1.18))  # tape
        prints.fill(face, (0, 0.495, 1, 0.51), prints.KRAFT[1] * np.float32(0.55))  # the flaps' gap
        x, y = rng.uniform(0.08, 0.5), rng.uniform(0.08, 0.4)
        prints.label(face, (x, y, x + 0.4, y + 0.45), rng)
        return Product('carton', aspect, rng.uniform(0.3, 0.52), slab(aspect), face, Finish(0.04, 0.04, 0.06))
    colour = prints.pick_colour(rng)
    face = prints.paper(aspect, colour)
    prints.artwork(face, (0.03, 0.05, 0.97, 0.95), colour, rng)
    if rng.random() < 0.5:
        prints.barcode(face, (0.68, 0.62, 0.94, 0.92), rng)
    return Product('carton', aspect, rng.uniform(0.22, 0.45), slab(aspect), face, Finish(0.05, 0.05, 0.2))


def book(rng: Generator) -> Product:
    aspect, colour = rng.uniform(0.62, 0.8), prints.pick_colour(rng)
    face = prints.paper(aspect, colour)
    picture = prints.contrast(colour, rng)
    x = rng.uniform(0.1, 0.45)
    prints.fill(face, (x, 0.15, x + rng.uniform(0.3, 0.5), 0.85), picture)
    prints.oval(face, (x + 0.08, 0.3, x + 0.28, 0.7), prints.contrast(picture, rng))
    face = np.ascontiguousarray(face.transpose(1, 0, 2))  # a book's title runs across its shorter side
    prints.title(face, (0.12, 0.06, 0.88, 0.16), prints.contrast(colour, rng), rng)
    prints.text(face, (0.2, 0.84, 0.8, 0.94), prints.contrast(colour, rng), 2, rng)
    face = np.ascontiguousarray(face.transpose(1, 0, 2)[::-1])
    prints.fill(face, (0, 0.94, 1, 1), colour * np.float32(0.6))  # its back
    return Product('book', aspect, rng.uniform(0.28, 0.42), slab(aspect, 0.015), face, Finish(0.03, 0.03, 0.12))


def bottle(rng: Generator) -> Product:
    aspect, neck = rng.uniform(0.26, 0.42), rng.uniform(0.1, 0.16)
    shoulder = rng.uniform(0.2, 0.5)
    upper = [(1.0, 0.0), (1.0, neck), (0.72, neck), (shoulder + 0.08, aspect * 0.9), (shoulder, aspect)]
    outline = [soften(mirrored([*upper, (-0.96, aspect), (-1.0, aspect * 0.88), (-1.0, 0.0)]), cut=0.08, times=2)]
    colour = prints.pick_colour(rng)
    face = prints.paper(aspect, colour)
    low = rng.uniform(0.08, 0.16)
    ground = prints.contrast(colour, rng)
    prints.fill(face, (low, 0, low + 0.4, 1), ground)
    prints.artwork(face, (low + 0.02, 0.1, low + 0.38, 0.9), ground, rng)
    prints.fill(face, (0.86, 0, 1, 1), prints.contrast(colour, rng))  # the cap
    return Product('bottle', aspect, rng.uniform(0.28, 0.5), outline, face, Finish(aspect, aspect * 0.85, 0.5))


def tube(rng: Generator) -> Product:
    aspect = rng.uniform(0.2, 0.32)
    upper = [(1.0, 0.0), (1.0, aspect * 0.6), (0.7, aspect * 0.62), (0.62, aspect * 0.8), (-0.98, aspect)]
    colour = prints.pick_colour(rng)
    face = prints.paper(aspect, colour)
    prints.stripes(face, prints.contrast(colour, rng), rng)
    prints.title(face, (0.2, 0.3, 0.65, 0.6), prints.contrast(colour, rng), rng)
    prints.text(face, (0.2, 0.65, 0.7, 0.85), prints.contrast(colour, rng), 2, rng)
    prints.fill(face, (0.82, 0, 1, 1), prints.contrast(colour, rng))  # the cap
    face[:, : prints.LENGTH // 14] *= 0.8 + 0.2 * (np.arange(prints.LENGTH // 14) % 4 < 2)[None, :, None]  # the crimp
    outline = [soften(mirrored([*upper, (-1.0, 0.0)]), cut=0.06, times=2)]
    return Product('tube', aspect, rng.uniform(0.25, 0.4), outline, face.astype(np.float32), Finish(aspect, 0.15, 0.35))


def can(rng: Generator) -> Product:
    """One that lies."""
    aspect, colour = rng.uniform(0.42, 0.62), prints.pick_colour(rng)
    face = prints.paper(aspect, colour)
    prints.artwork(face, (0.08, 0.05, 0.92, 0.95), colour, rng)
    for box in ((0, 0, 0.06, 1), (0.94, 0, 1, 1)):
        prints.fill(face, box, np.float32([0.72, 0.72, 0.7]))
    return Product('can', aspect, rng.uniform(0.2, 0.3), slab(aspect, 0.05), face, Finish(aspect, aspect * 0.9, 0.6))


def lid(rng: Generator) -> Product:
    """A can or a jar that stands."""
    colour = np.float32([0.72, 0.73, 0.74]) if rng.random() < 0.5 else prints.pick_colour(rng)
    face = prints.paper(1.0, colour)
    for far, tone in ((0.94, 0.7), (0.88, 1.08), (0.74, 0.8), (0.7, 1.0)):
        prints.oval(face, (0.5 - far / 2, 0.5 - far / 2, 0.5 + far / 2, 0.5 + far / 2), colour * np.float32(tone))
    prints.oval(face, (0.42, 0.5, 0.58, 0.8), colour * np.float32(0.78))
    return Product('lid', 1.0, rng.uniform(0.13, 0.22), [polar(1.0)], face, Finish(0.1, 0.1, 0.4))


def pouch(rng: Generator) -> Product:
    aspect, colour = rng.uniform(0.55, 0.8), prints.pick_colour(rng)
    waist = rng.uniform(0.86, 0.95)
    upper = [(1.0, 0.0), (1.0, aspect), (0.85, aspect * 0.98), (0.3, aspect * waist), (-0.3, aspect * waist)]
    outline = [soften(mirrored([*upper, (-0.85, aspect * 0.98), (-1.0, aspect), (-1.0, 0.0)]), cut=0.06, times=2)]
    face = prints.paper(aspect, colour)
    prints.artwork(face, (0.1, 0.08, 0.9, 0.92), colour, rng)
    crimp = 1 - 0.22 * (np.arange(prints.LENGTH // 12) % 5 < 2).astype(np.float32)[None, :, None]
    face[:, : prints.LENGTH // 12] *= crimp
    face[:, -(prints.LENGTH // 12) :] *= crimp
    bumps = 0.1 * prints.wrinkles(face.shape[:2], rng)
    return Product('pouch', aspect, rng.uniform(0.24, 0.42), outline, face, Finish(0.5 * aspect, 0.22, 0.45), bumps)


def bag(rng: Generator) -> Product:
    """A creased plastic bag, around something."""
    aspect = rng.uniform(0.6, 0.85)
    loop = polar(1.0 + rng.normal(0, 0.05, 28), 28)
    loop = np.abs(loop) ** 0.6 * np.sign(loop)  # squarer than an egg
    outline = [soften(loop / np.abs(loop).max(0) * [1, aspect], cut=0.15, times=2)]
    tone = prints.WHITE * np.float32(rng.uniform(0.75, 1.0)) if rng.random() < 0.6 else prints.pick_colour(rng)
    face = prints.paper(aspect, tone)
    inside = prints.pick_colour(rng)
    shown = rng.uniform(0.15, 0.5)
    prints.fill(face, (0.2, 0.2, rng.uniform(0.5, 0.8), 0.8), (1 - shown) * tone + shown * inside)
    face = prints.mottle(cv2.GaussianBlur(face, (0, 0), 9), 0.03, rng)
    if rng.random() < 0.5:
        x, y = rng.uniform(0.2, 0.5, 2)
        prints.label(face, (x, y, x + 0.3, y + 0.3), rng)
    bumps = 0.13 * prints.wrinkles(face.shape[:2], rng)
    return Product('bag', aspect, rng.uniform(0.28, 0.5), outline, face, Finish(0.35, 0.2, 0.4), bumps)


def ball(rng: Generator) -> Product:
    colour = prints.pick_colour(rng)
    face, other = prints.paper(1.0, colour), prints.contrast(colour, rng)
    if rng.random() < 0.5:
        prints.fill(face, (0, 0.38, 1, 0.62), other)
        prints.fill(face, (0.44, 0, 0.56, 1), other)
    else:
        for x, y in ((0.5, 0.5), (0.15, 0.3), (0.3, 0.82), (0.75, 0.15), (0.85, 0.68)):
            prints.oval(face, (x - 0.11, y - 0.11, x + 0.11, y + 0.11), other)
    return Product('ball', 1.0, rng.uniform(0.13, 0.24), [polar(1.0)], face, Finish(1.0, 0.9, 0.5))


def plush(rng: Generator) -> Product:
    """A toy: a head with two ears."""
    colour = prints.pick_colour(rng) * np.float32(0.9)
    angles = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    ears = sum(np.exp(-(((angles - at) / 0.26) ** 2)) for at in (0.62, 2 * math.pi - 0.62))
    loop = polar(0.78 + 0.3 * ears, 48)
    outline = [loop / np.abs(loop).max()]
    aspect = float(np.abs(outline[0][:, 1]).max())
    face = prints.mottle(prints.paper(aspect, colour), 0.07, rng)
    for y in (0.36, 0.64):
        prints.oval(face, (0.55, y - 0.05, 0.62, y + 0.05), prints.INK)
    prints.oval(face, (0.28, 0.36, 0.5, 0.64), colour * np.float32(1.25))
    return Product('plush', aspect, rng.uniform(0.18, 0.3), outline, face, Finish(0.6, 0.45, 0.0))


def blister(rng: Generator) -> Product:
    """Something in a clear bubble on a card with a hole to hang it by."""
    aspect, colour = rng.uniform(0.5, 0.75), prints.pick_colour(rng)
    face = prints.paper(aspect, colour)
    prints.title(face, (0.55, 0.2, 0.86, 0.5), prints.contrast(colour, rng), rng)
    prints.text(face, (0.6, 0.6, 0.86, 0.85), prints.contrast(colour, rng), 2, rng)
    prints.fill(face, (0.07, 0.12, 0.55, 0.88), 0.5 * colour + 0.45)
    prints.oval(face, (0.13, 0.22, 0.5, 0.78), prints.contrast(colour, rng))
    bumps = np.zeros(face.shape[:2], np.float32)
    prints.fill(bumps, (0.07, 0.12, 0.55, 0.88), np.float32([0.16]))
    bumps = cv2.GaussianBlur(bumps, (0, 0), 4)
    outline = [*slab(aspect, 0.08), polar(0.075, 16) + np.array([0.84, 0])]
    return Product('blister', aspect, rng.uniform(0.22, 0.38), outline, face, Finish(0.02, 0.02, 0.6), bumps)


def roll(rng: Generator) -> Product:
    """A roll of tape."""
    colour = prints.KRAFT[rng.integers(3)] if rng.random() < 0.4 else prints.pick_colour(rng)
    face = prints.paper(1.0, colour)
    inner = rng.uniform(0.5, 0.64)
    for far in np.linspace(0.97, inner + 0.12, 6):
        tone = np.float32(rng.uniform(0.8, 1.1))
        prints.oval(face, (0.5 - far / 2, 0.5 - far / 2, 0.5 + far / 2, 0.5 + far / 2), colour * tone)
    far = inner + 0.09
    prints.oval(face, (0.5 - far / 2, 0.5 - far / 2, 0.5 + far / 2, 0.5 + far / 2), prints.KRAFT[0])
    return Product('roll', 1.0, rng.uniform(0.15, 0.22), [polar(1.0), polar(inner)], face, Finish(0.08, 0.1, 0.3))


def sheet(rng: Generator) -> Product:
    """A flat pack printed with like fields side by side: where it ends, the next copy's print goes on."""
    aspect = rng.uniform(0.45, 0.95)
    face = prints.fields(aspect, rng)
    return Product('sheet', aspect, rng.uniform(0.4, 0.65), slab(aspect, 0.012), face, Finish(0.015, 0.015, 0.12))


def banded(rng: Generator) -> Product:
    """A flat pack with broad bands that run across it, and on over its copies."""
    aspect, colour = rng.uniform(0.3, 0.7), prints.pick_colour(rng)
    face = prints.paper(aspect, colour)
    for _ in range(int(rng.integers(1, 3))):
        prints.stripes(face, prints.contrast(colour, rng), rng)
    prints.fill(face, (rng.uniform(0.2, 0.7), 0, 1, 1), prints.contrast(colour, rng))
    if rng.random() < 0.6:
        prints.title(face, (0.08, 0.25, 0.6, 0.75), prints.contrast(colour, rng), rng)
    bumps = 0.05 * prints.wrinkles(face.shape[:2], rng) if rng.random() < 0.4 else None
    return Product('banded', aspect, rng.uniform(0.4, 0.65), slab(aspect, 0.02), face, Finish(0.02, 0.02, 0.2), bumps)


def wrapped(rng: Generator) -> Product:
    """Cans or small boxes, several in clear film: one article."""
    goods, columns = (lid, can, carton)[rng.integers(3)](rng), int(rng.integers(2, 4))
    lines = max(int(columns * rng.uniform(0.65, 1.0) / goods.aspect), 1)
    face, bumps = prints.side_by_side(goods.face, columns, lines, standing=goods.kind == 'lid')
    aspect = lines * goods.aspect / columns
    return Product('wrapped', aspect, rng.uniform(0.45, 0.7), slab(aspect, 0.05), face, Finish(0.03, 0.03, 0.5), bumps)


KINDS: dict[Callable[[Generator], Product], float] = {  # and how often
    carton: 0.2,
    book: 0.1,
    bottle: 0.13,
    tube: 0.08,
    can: 0.07,
    lid: 0.05,
    pouch: 0.12,
    bag: 0.1,
    ball: 0.04,
    plush: 0.03,
    blister: 0.06,
    roll: 0.02,
}
REPEATED: dict[Callable[[Generator], Product], float] = {  # what comes in many copies, and how often
    sheet: 0.27,
    wrapped: 0.2,
    banded: 0.17,
    carton: 0.1,
    book: 0.05,
    pouch: 0.06,
    bag: 0.04,
    bottle: 0.04,
    can: 0.04,
    blister: 0.03,
}


def pick_product(rng: Generator, kinds: dict[Callable[[Generator], Product], float] = KINDS) -> Product:
    names = list(kinds)
    return names[rng.choice(len(names), p=list(kinds.values()))](rng)
