"""Backends of :func:`damamba.ops.adaptive_sample`, the preferred one first."""

from damamba.ops.adaptive_sample import reference, vectorized
from damamba.ops.backend import Backend, can_always

BACKENDS = (
    Backend('vectorized', vectorized.adaptive_sample, can_always),
    Backend('reference', reference.adaptive_sample, can_always),
)
