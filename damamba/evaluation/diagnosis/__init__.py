"""Why figures are what they are: known faults of results in COCO's format, tried, measured, and told in a sentence."""

from damamba.evaluation.diagnosis.explain import diagnose
from damamba.evaluation.diagnosis.verdict import Diagnosis, Explanation

__all__ = ['Diagnosis', 'Explanation', 'diagnose']
