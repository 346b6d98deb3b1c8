"""What there is on both sides of a conversion, counted: pictures, objects, parts, holes, and objects of each class."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from damamba.datasets.conversion.labels import EXAMPLES, LabelledPicture, LeftOut
from damamba.datasets.inspection.defects import short_repr
from damamba.tables import Table

ROWS = {  # by the name of a field
    'pictures': 'pictures',
    'empty': '  without objects',
    'objects': 'objects',
    'boxes': '  a box alone',
    'crowds': '  crowds',
    'parts': 'parts of masks',
    'holes': 'holes in them',
}
SINGULAR = dict(boxes='box', categories='category')
PIECES = ('parts', 'holes')
COUNTED = ('pictures', 'objects', *PIECES)  # of which what was read is left out or written


@dataclass
class Tally:
    """How many there are of what."""

    pictures: int = 0
    empty: int = 0  # pictures without objects
    objects: int = 0
    boxes: int = 0  # objects without a mask
    crowds: int = 0
    parts: int = 0
    holes: int = 0
    classes: Counter = field(default_factory=Counter)  # objects by the names of their categories
    splits: Counter = field(default_factory=Counter)  # pictures by the names of their splits

    def add(self, picture: LabelledPicture) -> None:
        """Count a picture with its objects."""
        self.pictures += 1
        self.splits[picture.split] += 1
        self.empty += not picture.objects
        for it in picture.objects:
            self.add_object(it.category, it.is_crowd, it.pieces)

    def add_object(self, category: str, is_crowd: bool, pieces: tuple[int, int]) -> None:
        """Count an object; ``pieces`` are its parts and its holes, none in a box alone."""
        self.objects += 1
        self.classes[category] += 1
        self.crowds += is_crowd
        self.boxes += not any(pieces)
        self.parts += pieces[0]
        self.holes += pieces[1]


def table_of(categories: Sequence[str], read: Tally, left_out: LeftOut, written: Tally) -> Table:
    """What was read, what of it was left out, and what was written, counted anew in the files."""
    rows = []
    for name, heading in ROWS.items():
        left = left_out.total(name) if name in COUNTED else None
        rows.append((heading, getattr(read, name), left, getattr(written, name)))
    for name in dict.fromkeys((*categories, *read.classes)):
        rows.append((f'objects of {short_repr(name)}', read.classes[name], None, written.classes[name]))
    return Table.of('What came along', ('', 'read', 'left out', 'written'), rows, sections=(len(ROWS) - 1,))


def reasons_of(left_out: LeftOut) -> list[str]:
    """A sentence for each reason: ``3 objects, 4 parts: no pixel is covered (a.txt:4, a.txt:7, b.txt:1)``."""
    counts, places = defaultdict(list), defaultdict(dict)
    for (what, why), count in left_out.counts.items():
        counts[why].append(f'{count:,} {SINGULAR.get(what, what[:-1]) if count == 1 else what}')
        places[why] |= dict.fromkeys(left_out.examples[what, why])
    return [f'{", ".join(shown)}: {why} ({_some([*places[why]])})' for why, shown in counts.items()]


def _some(places: Sequence[str]) -> str:
    return ', '.join([*places[:EXAMPLES], *(['...'] if len(places) > EXAMPLES else [])])
