"""Backends of :func:`damamba.ops.selective_scan`, the preferred one first."""

from damamba.ops.backend import Backend, can_always
from damamba.ops.selective_scan import reference, vectorized

BACKENDS = (
    Backend('vectorized', vectorized.selective_scan, can_always),
    Backend('reference', reference.selective_scan, can_always),
)
