"""The charts of a report that compares runs, each written as one file; and those of one run.

``palette`` gives each run's name its colour, the same in every chart. Runs are drawn in the order in which they are
handed over, and one without the data that a chart needs is not. A figure that is not there, or -1 or NaN because there
was nothing to find, is a gap.
"""

# ruff: noqa: F401, I001
from damamba.reporting.charts.diagnosis import draw_diagnosis
from damamba.reporting.charts.evaluations import (
    draw_class_errors, draw_class_precision_recall, draw_confusion, draw_errors, draw_figures, draw_overview,
    draw_precision_recall,
)  # fmt: skip
from damamba.reporting.charts.examples import draw_detections, draw_examples, shared_pictures
from damamba.reporting.charts.latency import draw_latency
from damamba.reporting.charts.style import palette_of
from damamba.reporting.charts.training import draw_curves, draw_losses, draw_validation
