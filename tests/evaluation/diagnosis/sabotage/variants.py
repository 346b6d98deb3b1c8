"""What a way to spoil good results is, and the list of all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Results = list[dict]
Maker = Callable[[Results, dict, np.random.Generator], Results | tuple[Results, dict]]


@dataclass(frozen=True)
class Variant:
    """One way to make a fault of good results.

    ``kinds`` are those of which a diagnosis speaks: what it harms, or boxes where masks are lost. ``mend`` says what a
    diagnosis can give of them: 'exact' where nothing is lost, 'bound' where something is, and 'none' where nothing can
    be measured. ``sets`` are those on which it makes a difference, by name. ``others`` are sets of faults that say the
    same of these results.
    """

    faults: tuple[str, ...]
    name: str
    make: Maker
    kinds: tuple[str, ...]
    mend: str
    sets: tuple[str, ...]
    others: tuple[tuple[str, ...], ...] = ()

    @property
    def id(self) -> str:
        return f'{"+".join(self.faults)}-{self.name.replace(" ", "-")}'

    def spoil(self, entries: Results, document: dict, rng: np.random.Generator) -> tuple[Results, dict]:
        """The results that somebody ends up with, and their annotations; what is given stays as it is."""
        made = self.make(entries, document, rng)
        return made if isinstance(made, tuple) else (made, document)


VARIANTS: list[Variant] = []
ALL = ('shapes', 'totes', 'coco', 'gaps')


def variant(
    faults: str,
    name: str,
    *args,
    kinds: str = 'bbox segm',
    mend: str = 'exact',
    sets: Sequence[str] = ALL,
    others: Sequence[str] = (),
) -> Callable[[Callable], Callable]:
    """Add a maker to VARIANTS, called with ``args`` behind the results, the annotations and the generator."""

    def add(make: Callable) -> Callable:
        def spoil(entries: Results, document: dict, rng: np.random.Generator) -> Results | tuple[Results, dict]:
            return make(entries, document, rng, *args)

        many = tuple(tuple(text.split()) for text in others)
        VARIANTS.append(Variant(tuple(faults.split()), name, spoil, tuple(kinds.split()), mend, tuple(sets), many))
        return make

    return add


def images_of(document: dict) -> dict[int, dict]:
    return {image['id']: image for image in document['images']}
