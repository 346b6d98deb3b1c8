"""Which part each group goes to, so that every part has its share of pictures and of each class.

First each group goes where it is wanted most, those with the rarest class first (Sechidis et al., 2011, "On the
Stratification of Multi-Label Data", for groups that count more than once). Then groups change places at random as long
as that helps.
"""

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence

SIZE = 0  # the column of what the fractions are of: pictures, or objects
OF_SIZE = 100.0  # what a part's wrong size costs: off by a tenth, as much as a class that is missing in it
TRIES, MOST_TRIES = 20, 20_000  # changes that are tried, for each group and at most
LEAST = 1e-12  # gain that is one

Counts = Mapping[int, int]  # by column


class Parts:
    """What each part has and should have, and what a group there would cost.

    That is the sum of squares by which its share of each column is off, and 1 for each class that it lacks though
    enough groups have one.
    """

    def __init__(self, groups: Sequence[Counts], wanted: Sequence[Mapping[int, float]]):
        self.groups, self.wanted = groups, wanted
        self.has = [Counter() for _ in wanted]
        self.members = [0] * len(wanted)
        self.holders = Counter(column for group in groups for column, count in group.items() if count)
        totals = {column: sum(it[column] for it in wanted) for column in wanted[0]}
        self.weights = {column: 1 / len(totals) / max(total, 1) ** 2 for column, total in totals.items()}
        self.weights[SIZE] *= OF_SIZE * len(totals)

    def cost(self, group: int, part: int, sign: int = 1) -> float:
        """What it would change to put a group into a part, or with ``sign`` -1 to take it out."""
        has, wanted, change = self.has[part], self.wanted[part], 0.0
        for column, count in self.groups[group].items():
            off = has[column] - wanted[column]
            change += (2 * sign * off + count) * count * self.weights[column]
            if self.holders[column] >= len(self.has):
                change += (has[column] + sign * count == 0) - (has[column] == 0)
        return change

    def lack(self, group: int, part: int, column: int) -> tuple[bool, float, float]:
        """What puts a part first that a group may go to: that it has none of a column, wants it most, costs least."""
        has = self.has[part][column]
        return has > 0, has - self.wanted[part][column], self.cost(group, part)

    def put(self, group: int, part: int, sign: int = 1) -> float:
        """Put a group into a part, or take it out; what that changed."""
        change, has = self.cost(group, part, sign), self.has[part]
        for column, count in self.groups[group].items():
            has[column] += sign * count
        self.members[part] += sign
        return change

    def off(self, part: int, more: int = 0) -> float:
        """By how much a part is too large, with ``more`` in it."""
        return self.has[part][SIZE] + more - self.wanted[part][SIZE]

    def open_to(self, group: int) -> list[int]:
        """The parts that a group may go to: those it fits in; or the empty ones when groups run short."""
        parts, size = range(len(self.has)), self.groups[group].get(SIZE, 0)
        empty = [part for part in parts if not self.members[part]]
        if len(empty) >= len(self.groups) - sum(self.members):
            return empty
        return [part for part in parts if self.off(part, size) <= LEAST] or [*parts]


def allot(groups: Sequence[Counts], fractions: Sequence[float], seed: int) -> list[int]:
    """The part of each group, the same for the same seed. No part is empty.

    Args:
        groups: what each has, by column: :data:`SIZE`, and from 1 on its objects by class.
        fractions: of the parts. There are no more parts than groups.
    """
    totals: Counter[int] = Counter({SIZE: 0})
    for group in groups:
        totals.update(group)
    wanted = [{column: fraction * totals[column] for column in totals} for fraction in fractions]
    if all(group.get(SIZE) == 1 for group in groups):
        for part, size in zip(wanted, whole_numbers(len(groups), fractions), strict=True):
            part[SIZE] = size
    parts, generator = Parts(groups, wanted), random.Random(seed)
    places = _begin(parts, generator)
    _improve(parts, places, generator)
    return places


def whole_numbers(total: int, fractions: Sequence[float]) -> list[int]:
    """Fractions of a number of pictures, each of one picture at least: what is left goes to the largest remainders."""
    exact = [fraction * total for fraction in fractions]
    found = [max(math.floor(it + LEAST), 1) for it in exact]
    while sum(found) < total:
        found[max(range(len(found)), key=lambda part: exact[part] - found[part])] += 1
    while sum(found) > total:
        large = [part for part, count in enumerate(found) if count > 1]
        found[max(large, key=lambda part: found[part] - exact[part])] -= 1
    return found


def _begin(parts: Parts, generator: random.Random) -> list[int]:
    order = [*range(len(parts.groups))]
    generator.shuffle(order)
    rarest = [min((parts.holders[column], column) for column in {SIZE, *group}) for group in parts.groups]
    order.sort(key=lambda group: (rarest[group], -parts.groups[group].get(SIZE, 0)))
    places = [0] * len(order)
    for group in order:
        column = rarest[group][1]
        places[group] = min(parts.open_to(group), key=lambda part: parts.lack(group, part, column))
        parts.put(group, places[group])
    return places


def _improve(parts: Parts, places: list[int], generator: random.Random) -> None:
    """A group moves to another part, or two change places, where that costs less."""
    for _ in range(min(TRIES * len(places), MOST_TRIES)):
        one, other = generator.randrange(len(places)), generator.randrange(len(places))
        here, there = places[one], places[other]
        if here == there:
            continue
        if _may_move(parts, one, here, there) and _moves(parts, [(one, here, there)]):
            places[one] = there
        elif _moves(parts, [(one, here, there), (other, there, here)]):
            places[one], places[other] = there, here


def _may_move(parts: Parts, group: int, here: int, there: int) -> bool:
    """Whether a move empties no part and leaves the sizes no farther off: single pictures keep the exact number."""
    size = parts.groups[group].get(SIZE, 0)
    before = parts.off(here) ** 2 + parts.off(there) ** 2
    return parts.members[here] > 1 and parts.off(here, -size) ** 2 + parts.off(there, size) ** 2 <= before + LEAST


def _moves(parts: Parts, moves: Sequence[tuple[int, int, int]]) -> bool:
    """Move groups from a part to another, and back again unless it costs less; whether it does."""
    change = sum(parts.put(group, here, -1) + parts.put(group, there) for group, here, there in moves)
    if change < -LEAST:
        return True
    for group, here, there in reversed(moves):
        parts.put(group, there, -1)
        parts.put(group, here)
    return False
