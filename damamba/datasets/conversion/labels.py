"""The form that the labels of every tool take before they are written: pictures, and the objects in them.

Outlines are [N, 2], x and y in pixels from the picture's upper left corner; a pixel (x, y) reaches from x to x + 1.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from pycocotools import mask as coco_mask

EXAMPLES = 3  # places that are said of each reason
Size = tuple[int, int]  # width, height in pixels
Box = tuple[float, float, float, float]  # x, y, width, height in pixels


class ConversionError(ValueError):
    """A data set that can't be converted as it was asked for; the text says why, and what to do."""


class Part(NamedTuple):
    """A connected piece of an object."""

    outline: np.ndarray  # [N, 2]
    holes: tuple[np.ndarray, ...] = ()  # [M, 2] each


@dataclass(frozen=True)
class LabelledObject:
    """An object: parts, or else a mask, or else a box alone."""

    category: str
    where: str  # the file, and the line or the place in it, for messages
    parts: tuple[Part, ...] = ()
    mask: Mapping | None = None  # COCO's RLE of the whole picture, as rle_of makes it
    box: Box | None = None
    is_crowd: bool = False
    extra: Mapping = field(default_factory=dict)  # further keys of the COCO annotation, such as attributes

    @cached_property
    def pieces(self) -> tuple[int, int]:
        """How many parts and how many holes there are; none in a box alone."""
        if self.mask is not None:
            return count_pieces(self.mask)
        return len(self.parts), sum(len(part.holes) for part in self.parts)


@dataclass
class LabelledPicture:
    """A picture file, as MMDetection reads it, and what is labelled in it."""

    path: Path
    name: str  # in the folder of its split, with slashes
    split: str  # train, val, test, or whatever the source calls it; 'all' where it has none
    size: Size  # after EXIF's orientation, which MMDetection heeds
    objects: list[LabelledObject] = field(default_factory=list)
    extra: Mapping = field(default_factory=dict)  # further keys of the COCO image, such as date_captured
    orientation: int = 1  # EXIF's, where the labels are of the picture as it is stored; they are turned later


@dataclass
class LeftOut:
    """What did not come along: how many of what, why, and where the first ones were."""

    counts: Counter = field(default_factory=Counter)  # by (what, why); what: pictures, objects, parts, holes, ...
    examples: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, what: str, why: str, where: str, count: int = 1) -> None:
        """Count ``count`` of ``what`` (pictures, objects, parts, holes, label files)."""
        if count:
            self.counts[what, why] += count
            places = self.examples.setdefault((what, why), [])
            if len(places) <= EXAMPLES and where not in places:
                places.append(where)

    def total(self, what: str) -> int:
        """How many of ``what``, whatever the reason."""
        return sum(count for (kind, _), count in self.counts.items() if kind == what)


@dataclass(frozen=True)
class Options:
    """What a user may ask for beside the source.

    Args:
        classes: names, in the order in which they become categories: those of a source that has none, or those that
            are wanted of one that has.
        boxes_as_masks: objects of which there is only a box get its rectangle as their mask.
        follow_links: read pictures too to which links lead out of the source's folder.
        values: what a value of a picture of labels is: one of the objects, or one of the classes, so that each of its
            connected pieces is an object; None where the source says it.
        class_map: a file that says which class a value of a picture of labels is.
        keep_crowds: take what CVAT marks as a crowd, which is every mask that was painted, for one.
    """

    classes: Sequence[str] = ()
    boxes_as_masks: bool = False
    follow_links: bool = False
    values: str | None = None  # objects or classes
    class_map: Path | None = None
    keep_crowds: bool = False


def rle_of(mask: np.ndarray) -> dict:
    """mask [H, W], 0 or not -> COCO's compressed RLE, its counts as text."""
    rle = coco_mask.encode(np.asfortranarray(mask != 0, np.uint8))
    return dict(size=[*map(int, rle['size'])], counts=rle['counts'].decode('ascii'))


def count_pieces(rle: Mapping) -> tuple[int, int]:
    """COCO's RLE -> how many parts it has, and how many holes; pixels that touch at a corner are one part."""
    left, top, width, height = coco_mask.toBbox(dict(rle)).astype(int).tolist()  # a fraction of most pictures
    if not width:
        return 0, 0
    near = np.ascontiguousarray(coco_mask.decode(dict(rle))[top : top + height, left : left + width])
    _, families = cv2.findContours(near, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outer = families[0][:, 3] < 0
    return int(np.sum(outer)), int(len(outer) - np.sum(outer))
