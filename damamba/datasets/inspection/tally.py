"""What a data set holds, counted."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from damamba.datasets.inspection.records import Picture

SMALL, LARGE = 32**2, 96**2  # COCO's sizes, in square pixels
REFERENCE = 640 * 480  # COCO's limits, 32 x 32 and 96 x 96 pixels, are 1/300 and 3 % of such a picture
BELOW = (SMALL / REFERENCE, LARGE / REFERENCE)


@dataclass
class Tally:
    """Counts of one annotation file, or of several. Crowds are no objects."""

    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)  # pictures by width and height
    per_picture: list[int] = field(default_factory=list)  # objects
    objects: int = 0
    crowds: int = 0
    areas: list[float] = field(default_factory=list)  # of objects, in square pixels, as annotated
    shares: list[float] = field(default_factory=list)  # of the picture
    by_category: Counter[str] = field(default_factory=Counter)  # objects by name
    _places: dict[int, int] = field(default_factory=dict, repr=False)  # in per_picture, by the picture's id

    @classmethod
    def of(cls, pictures: Iterable[Picture], names: Iterable[str]) -> 'Tally':
        """That of pictures in which no object has been counted yet."""
        pictures = list(pictures)
        sizes = Counter(picture.size for picture in pictures if picture.size)
        places = {picture.id: place for place, picture in enumerate(pictures)}
        return cls(sizes, [0] * len(pictures), by_category=Counter(dict.fromkeys(names, 0)), _places=places)

    def add(self, picture: Picture | None, category: str | None, area: float | None, crowd: bool) -> None:
        """Count an annotation; what is not known of it is None."""
        if crowd:
            self.crowds += 1
            return
        self.objects += 1
        if picture is not None:
            self.per_picture[self._places[picture.id]] += 1
        if category is not None:
            self.by_category[category] += 1
        if area is not None:
            self.areas.append(area)
        if area is not None and picture is not None and picture.size:
            self.shares.append(area / (picture.width * picture.height))

    def __add__(self, other: 'Tally') -> 'Tally':
        names = ('sizes', 'per_picture', 'objects', 'crowds', 'areas', 'shares', 'by_category')
        both = Tally(**{name: getattr(self, name) + getattr(other, name) for name in names})
        both.by_category = Counter(
            {name: self.by_category[name] + other.by_category[name] for name in (*self.by_category, *other.by_category)}
        )
        return both

    @property
    def pictures(self) -> int:
        return len(self.per_picture)

    @property
    def without_objects(self) -> int:
        return self.per_picture.count(0)

    @property
    def mean(self) -> float:
        return sum(self.per_picture) / max(self.pictures, 1)

    @property
    def median(self) -> float:
        return median(self.per_picture or [0])

    @property
    def most(self) -> int:
        return max(self.per_picture, default=0)

    @property
    def by_area(self) -> tuple[int, int, int]:
        """Objects that are small, medium and large by COCO's limits."""
        return _thirds(self.areas, (SMALL, LARGE))

    @property
    def by_share(self) -> tuple[int, int, int]:
        """Objects below 1/300 of their picture, below 3 % and above."""
        return _thirds(self.shares, BELOW)

    def to_dict(self) -> dict:
        """Plain values for a JSON file."""
        per_picture = dict(mean=self.mean, median=self.median, max=self.most)
        sizes = [dict(width=width, height=height, pictures=n) for (width, height), n in self.sizes.most_common()]
        return dict(
            pictures=self.pictures,
            without_objects=self.without_objects,
            objects=self.objects,
            crowds=self.crowds,
            per_picture=per_picture,
            sizes=sizes,
            areas=dict(zip(('small', 'medium', 'large'), self.by_area, strict=True)),
            shares=dict(zip(('below_1_300', 'below_3_percent', 'above'), self.by_share, strict=True)),
            categories=dict(self.by_category),
        )


def _thirds(values: list[float], limits: tuple[float, float]) -> tuple[int, int, int]:
    low = sum(value < limits[0] for value in values)
    high = sum(value >= limits[1] for value in values)
    return low, len(values) - low - high, high
