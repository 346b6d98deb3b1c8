"""What can not be explained, and why, in one sentence."""

from damamba.models import ArgumentError


class ExplainError(ArgumentError):
    """A picture, a position, a stage or a model that can not be explained; the text says why."""
