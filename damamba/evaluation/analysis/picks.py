"""Whether the first pick of each picture falls on an object that lies on top: what a robot over a tote needs.

The pick is the one that :mod:`damamba.picking` chooses from what was detected. What lies on top is not annotated; it is
guessed from the masks of the ground truth, by the same rule.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from faster_coco_eval.core import mask as rle

from damamba.evaluation.analysis.overlaps import Picture
from damamba.evaluation.results import EvaluationError
from damamba.picking import CONTAINERS, Patch, covered_shares, is_container, patch_of, pick_points
from damamba.tables import UNDEFINED, Table

ALONE = 'object'  # the only class of pictures of totes that are not annotated themselves
TOLERANCE = 0.01  # an object on top may be covered so much more than the least covered one
ON_TOP, COVERED, BESIDE, NOTHING = 'on top', 'covered', 'on none', 'called empty'  # what becomes of a full tote
RIGHT, WRONG = 'seen empty', 'taken for full'  # and of an empty one
HEADINGS = ('pick score', 'totes', 'on top', 'on an object', 'on none', 'called empty', 'empty totes', 'seen empty')


@dataclass(frozen=True)
class Picks:
    """First picks of all pictures.

    ``totes`` and ``empty totes`` are how many there are with and without objects. Shares of the former are ``on top``
    and ``on an object``, which has those on top too, ``on none``, and ``called empty``; of the latter ``seen empty``.
    ``pick score`` is the share of all that are on top or seen empty. A share of nothing is -1.
    """

    values: dict[str, float]

    def table(self, kind: str) -> str:
        """One line."""
        title = f'First picks by {kind}s'
        return Table.of(title, HEADINGS, [[self.values[name] for name in HEADINGS]]).text()


def containers_of(names: Iterable[str], wanted: str | Collection[str] | None = None) -> tuple[str, ...] | None:
    """The classes that hold others in a data set of classes of these names; None where picks have no meaning.

    They have where there is a class Tote beside another one, or Object alone, or where containers are named.

    Raises:
        EvaluationError: a container is none of several classes; of one alone containers may not be annotated.
    """
    names = list(names)
    if wanted is not None:
        wanted = (wanted,) if isinstance(wanted, str) else tuple(wanted)
        unknown = [it for it in wanted if not any(is_container(name, (it,)) for name in names)]
        if unknown and len(names) > 1:
            raise EvaluationError(f'containers: there is no class {unknown[0]}, but {", ".join(names)}')
        return wanted
    held = [is_container(name) for name in names]
    is_alone = [name.strip().casefold() for name in names] == [ALONE]
    return CONTAINERS if is_alone or (any(held) and not all(held)) else None


def count_picks(
    pictures: Sequence[Picture], names: Sequence[str], least_score: float, containers: Collection[str] = CONTAINERS
) -> Picks:
    """Judge the first pick of each picture by the pixel that its point lies in.

    An object is on top if it is covered by 0.01 of its hull at most, or where all are, by 0.01 more than the least
    covered one. Crowds are no objects: a pick that falls in one, or a picture with nothing else, does not count.

    Args:
        pictures: from :func:`~damamba.evaluation.analysis.overlaps.read_pictures`, of masks.
        names: of the K classes.
        least_score: masks that score less do not count.
        containers: names of classes that hold objects: they are not picked, and cover nothing.
    """
    found = Counter(_judge(picture.above(least_score), names, containers) for picture in pictures)
    full, empty = (sum(found[what] for what in these) for these in ((ON_TOP, COVERED, BESIDE, NOTHING), (RIGHT, WRONG)))
    counts = {'totes': full, 'empty totes': empty}
    shares = {what: _share(found[what], full) for what in (ON_TOP, BESIDE, NOTHING)}
    shares['on an object'] = _share(found[ON_TOP] + found[COVERED], full)
    shares |= {RIGHT: _share(found[RIGHT], empty), 'pick score': _share(found[ON_TOP] + found[RIGHT], full + empty)}
    return Picks({name: (counts | shares)[name] for name in HEADINGS})


def _share(part: int, whole: int) -> float:
    return part / whole if whole else UNDEFINED


def _judge(picture: Picture, names: Sequence[str], containers: Collection[str]) -> str | None:
    """What becomes of a picture; None where that can't be said."""
    classes = [names[label] for label in picture.labels]
    first = next(pick_points(picture.shapes, picture.scores.tolist(), classes, containers), None)
    objects, crowds = _to_pick(picture, names, containers)
    if not objects:
        return None if crowds else WRONG if first else RIGHT
    if first is None:
        return NOTHING
    shares = covered_shares(objects)
    hit = [share for patch, share in zip(objects, shares, strict=True) if patch.has(first.x, first.y)]
    if not hit:
        return None if any(crowd.has(first.x, first.y) for crowd in crowds) else BESIDE
    return ON_TOP if min(hit) <= min(shares) + TOLERANCE else COVERED


def _to_pick(picture: Picture, names: Sequence[str], containers: Collection[str]) -> tuple[list[Patch], list[Patch]]:
    """What is there but containers: objects, and crowds."""
    parts = [], []
    for label, shape, is_crowd in zip(picture.object_labels, picture.object_shapes, picture.crowds, strict=True):
        if rle.area(shape) and not is_container(names[label], containers):
            parts[int(is_crowd)].append(patch_of(shape))
    return parts
