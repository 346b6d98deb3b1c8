"""Who leads: one figure of all runs on one ground truth, compared pair by pair on the same draws of its pictures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

import numpy as np

from damamba.evaluation.comparison import Difference, compare, is_meaningful
from damamba.reporting.words import FEW_RUNS
from damamba.tables import is_figure


@dataclass(frozen=True)
class Ranking:
    """A figure, such as mAP of a class, of each run that has one."""

    figures: Mapping[str, float]
    ends: Mapping[str, Sequence[float]] = field(default_factory=dict)  # of their intervals
    draws: Mapping[str, np.ndarray] = field(default_factory=dict)  # the same figure of each draw of pictures
    pictures: int = 0  # of the ground truth

    @cached_property
    def runs(self) -> list[str]:
        """Their names, by the figure, the highest first."""
        having = [run for run, value in self.figures.items() if is_figure(value)]
        return sorted(having, key=lambda run: -self.figures[run])

    @property
    def first(self) -> list[str]:
        """Those that have the highest figure."""
        return [run for run in self.runs if self.figures[run] == self.figures[self.runs[0]]]

    def difference(self, run: str, other: str) -> Difference | None:
        """How far a run lies above another one; None where one of them left no draws."""
        draws = [self.draws.get(run), self.draws.get(other)]
        if any(it is None for it in draws) or len(draws[0]) != len(draws[1]):
            return None
        return compare(*draws, (self.figures[run], self.figures[other]), self.pictures)

    def is_ahead(self, run: str, other: str) -> bool:
        """Whether the figure of a run is higher than that of another, beyond what chance does."""
        difference = self.difference(run, other)
        return bool(difference and difference.value > 0 and difference.is_clear and not self.is_meaningless(run))

    def is_meaningless(self, run: str) -> bool:
        """Whether a figure is too near to nothing to say anything of a run."""
        return not is_meaningful(self.figures[run], self.ends.get(run))

    @cached_property
    def near(self) -> list[str]:
        """The runs that the first one is not ahead of."""
        return [run for run in self.runs[1:] if not self.is_ahead(self.runs[0], run)]

    @property
    def leader(self) -> str | None:
        """The run that is ahead of all others."""
        return self.runs[0] if len(self.runs) > 1 and not self.near else None

    @property
    def marked(self) -> set[str]:
        """The first, and those that can't be told from it; none where it means nothing, or one left no draws."""
        if len(self.runs) < 2 or self.is_meaningless(self.runs[0]):
            return set()
        is_known = all(self.difference(self.runs[0], run) for run in self.runs[1:])
        return {self.runs[0], *self.near} if is_known else set()

    def pairs(self) -> Iterator[tuple[str, str, Difference | None]]:
        """Runs, and how far the first of two lies above the other: all of few runs, else the first and each other."""
        runs = self.runs
        for run, other in combinations(runs, 2) if len(runs) <= FEW_RUNS else ((runs[0], it) for it in runs[1:]):
            yield run, other, self.difference(run, other)

    def verdict(self, run: str, other: str) -> str:
        """What their difference says, for a table."""
        if self.is_meaningless(run):
            return 'too near to nothing'
        if not self.difference(run, other):
            return 'not known'
        return f'{run} is ahead' if self.is_ahead(run, other) else 'within chance'
