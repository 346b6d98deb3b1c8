"""What annotation files hold, counted."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from damamba.datasets.inspection.records import AnnotationFile

AREAS = {'small': -math.inf, 'medium': 32**2, 'large': 96**2}  # COCO's, in square pixels, each with where it begins
SHARES = {'below_1_300': -math.inf, 'below_3_percent': 1 / 300, 'above': 0.03}  # the same of a picture of 640 x 480


def tally_files(files: Sequence[AnnotationFile]) -> dict:
    """What some files hold together, in plain values. Crowds are no objects; areas are as annotated."""
    objects = [it for file in files for it in file.annotations if not it.crowd]
    per_picture = []
    for file in files:
        counts = Counter(it.picture.id for it in file.annotations if it.picture and not it.crowd)
        per_picture += [counts.pop(picture.id, 0) for picture in file.pictures]  # of one id the first has them all
    each = per_picture or [0]
    sizes = Counter(picture.size for file in files for picture in file.pictures if picture.size)
    measured = [it for it in objects if it.area is not None]
    shares = [it.area / math.prod(it.picture.size) for it in measured if it.picture and it.picture.size]
    categories = Counter(dict.fromkeys((name for file in files for name in file.categories.values()), 0))
    categories.update(it.category for it in objects if it.category is not None)
    return dict(
        pictures=len(per_picture),
        without_objects=per_picture.count(0),
        objects=len(objects),
        crowds=sum(it.crowd for file in files for it in file.annotations),
        per_picture=dict(mean=sum(each) / len(each), median=median(each), max=max(each)),
        sizes=[dict(width=width, height=height, pictures=n) for (width, height), n in sizes.most_common()],
        areas=count_between((it.area for it in measured), AREAS),
        shares=count_between(shares, SHARES),
        categories=dict(categories),
    )


def count_between(values: Iterable[float], begins: Mapping[str, float]) -> dict[str, int]:
    """How many values there are from each beginning to the next, by their names."""
    counts = Counter([name for name, least in begins.items() if value >= least][-1] for value in values)
    return {name: counts[name] for name in begins}
