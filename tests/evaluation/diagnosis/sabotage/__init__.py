"""Every known fault of results, made of good ones as a user's mistake makes it: VARIANTS, in groups."""

from tests.evaluation.diagnosis.sabotage import boxes, classes, images, masks, pictures, scores  # noqa: F401
from tests.evaluation.diagnosis.sabotage.pairs import add_pairs
from tests.evaluation.diagnosis.sabotage.variants import VARIANTS, Variant

add_pairs()
__all__ = ['VARIANTS', 'Variant']
