"""What a proof claims of an evaluation, whether it held, and what was seen."""

from dataclasses import asdict, dataclass

from damamba.evaluation.results import EvaluationError
from damamba.tables import Table


class ProofError(EvaluationError):
    """An evaluation that does not prove itself; the text names what failed."""


@dataclass(frozen=True)
class Check:
    """One claim, whether it held, and what was seen. ``passed`` is None where there was nothing to see."""

    name: str
    passed: bool | None
    seen: str


@dataclass(frozen=True)
class Proof:
    """All claims about one config's evaluation on one ground truth."""

    config: str
    ann_file: str
    head: str
    images: int
    objects: int
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed is not False for check in self.checks)

    def to_dict(self) -> dict:
        """Plain values for a JSON file."""
        return {'passed': self.passed, **asdict(self)}

    def table(self) -> str:
        """A line for each claim."""
        holds = {True: 'yes', False: 'NO', None: '-'}
        rows = [(check.name, holds[check.passed], check.seen) for check in self.checks]
        table = Table.of(f'Proof of the evaluation: {self.config}', ['claim', 'holds', 'seen'], rows, left=range(3))
        origin = f'{self.images:,} images and {self.objects:,} objects of {self.ann_file}, through {self.head}'
        return f'{table.text()}\n\n{origin}'

    def require(self) -> None:
        """Raise unless every claim held.

        Raises:
            ProofError: names those that did not.
        """
        failed = [f'{check.name}: {check.seen}' for check in self.checks if check.passed is False]
        if failed:
            raise ProofError(f'the evaluation does not prove itself: {"; ".join(failed)}')
