"""What a diagnosis says: the figures as they stand, and what explains them, the best first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from damamba.evaluation.diagnosis.columns import as_entries
from damamba.evaluation.diagnosis.mends import Mend, State
from damamba.evaluation.results import NAMES, Evaluation

BOUND = 0.95  # what a mAP counts that can't be reached for certain, beside one that can
CLEAR = 'No known fault explains these figures'


@dataclass(frozen=True)
class Explanation:
    """Faults that explain figures: what mAP would be without them, None where results can't be mended.

    ``given`` is the mAP as it stands, on as many ``pictures``; ``is_bound``: something is lost that
    the file can't give back, and ``mean_ap`` is about what could be reached.
    """

    faults: tuple[str, ...]
    kind: str
    mean_ap: float | None
    given: float
    pictures: int
    sentence: str
    is_bound: bool = False
    mends: tuple[Mend, ...] = field(default=(), repr=False)

    @property
    def rank(self) -> tuple:
        """What sorts explanations, the best first: mAP, which counts less where it is a bound; then fewer faults."""
        return -(self.mean_ap or 0) * (BOUND if self.is_bound else 1), len(self.faults)

    def to_dict(self) -> dict:
        """Plain values for a JSON file."""
        content = {'faults': list(self.faults), 'kind': self.kind, 'mAP': self.mean_ap, 'sentence': self.sentence}
        return {**content, 'given': self.given, 'pictures': self.pictures, 'bound': self.is_bound}


@dataclass(frozen=True)
class Diagnosis:
    """Figures of results as they stand, what explains them, and which errors cost most where nothing does."""

    evaluation: Evaluation
    explanations: tuple[Explanation, ...]
    costs: str = ''  # a sentence about the errors of honest detections
    notes: tuple[str, ...] = ()  # what keeps some detections from counting, where nothing else explains the figures
    state: State | None = field(default=None, repr=False)  # the results as they are given

    @property
    def figures(self) -> dict[str, float]:
        return self.evaluation.flat()

    @property
    def faults(self) -> tuple[str, ...]:
        """Those of the best explanation; none where there is none."""
        return self.explanations[0].faults if self.explanations else ()

    @property
    def can_mend(self) -> bool:
        """Whether the best explanation says how results are put right."""
        return bool(self.explanations and self.explanations[0].mends)

    def entries(self, images: Sequence[Mapping], mended: bool = False) -> list[dict]:
        """Results of some pictures in COCO's format, as given, or as the best explanation mends them."""
        state = replace(self.state, kind=self.explanations[0].kind) if mended else self.state
        for mend in self.explanations[0].mends if mended else ():
            if mend.family == 'pictures':
                state = mend.change(state)
        numbers = {image['id'] for image in images}
        state = state.sample(np.array([number in numbers for number in state.truth.image_ids], bool))
        for mend in self.explanations[0].mends if mended else ():
            state = mend.change(state) if mend.family != 'pictures' else state
        return as_entries(state.results, state.truth, state.kind)

    @property
    def sentence(self) -> str:
        """The verdict."""
        given = ', '.join(f'{NAMES[kind]} mAP {shown(it.values["mAP"])}' for kind, it in self.evaluation.scores.items())
        given = f'{given[0].upper()}{given[1:]}'
        if self.explanations:
            return f'{given}. {self.explanations[0].sentence}'
        rest = f'{CLEAR}{f": {self.costs}" if self.costs else "."}'
        return ' '.join([f'{given}.', *self.notes, f'Beside that, {rest[0].lower()}{rest[1:]}' if self.notes else rest])

    def to_dict(self) -> dict:
        """Plain values for a JSON file."""
        explanations = [it.to_dict() for it in self.explanations]
        return {'figures': self.figures, 'explanations': explanations, 'notes': list(self.notes)}


def shown(value: float) -> str:
    """mAP with three digits, or with four where three would be zeros."""
    return f'{value:.3f}' if value >= 0.001 or value <= 0 else f'{value:.4f}'


def told(words: Sequence[str], causes: Sequence[str], mean_ap: float, is_bound: bool, on: str = '') -> str:
    """With what mends mAP would be how much, and what the mistakes may have been."""
    with_what = ' and '.join(dict.fromkeys(words))
    return f'With {with_what}: {"about " if is_bound else ""}{shown(mean_ap)}{on}. {" ".join(dict.fromkeys(causes))}'
