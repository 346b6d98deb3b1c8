"""What a DAMamba looks at: where its scan reads from, what reaches a position, how long its state remembers."""

from damamba.inference.explain.errors import ExplainError
from damamba.inference.explain.explainer import explain
from damamba.inference.explain.explanation import Explanation, StageScan

__all__ = ['ExplainError', 'Explanation', 'StageScan', 'explain']
