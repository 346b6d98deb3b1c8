"""The pictures of a report that compares runs, each written as one file.

``palette`` gives each run's name its colour, the same in every picture, and the runs are drawn in its order. A run
without the data that a picture needs is simply not handed over. ``kind`` is ``segm`` or ``bbox``; ``focus`` is the
class whose figures are drawn, None for the mean over classes. A figure that is not there, or -1 or NaN because there
was nothing to find, is a gap.
"""

from damamba.reporting.comparison.details import draw_errors, draw_precision_recall, draw_segmentation
from damamba.reporting.comparison.examples import draw_examples
from damamba.reporting.comparison.layout import palette_of
from damamba.reporting.comparison.scores import draw_overview, draw_recall, draw_sizes
from damamba.reporting.comparison.speed import draw_latency
from damamba.reporting.comparison.training import draw_losses, draw_validation

__all__ = [
    'palette_of',
    'draw_losses',
    'draw_validation',
    'draw_overview',
    'draw_sizes',
    'draw_recall',
    'draw_precision_recall',
    'draw_errors',
    'draw_segmentation',
    'draw_latency',
    'draw_examples',
]
