"""Backends of :func:`damamba.ops.selective_scan`, the preferred one first."""

from damamba.ops.backend import Backend, by_autograd, can_always
from damamba.ops.registration import register
from damamba.ops.selective_scan import numba_launch, reference, triton_launch, vectorized

INPUTS = ('u', 'dt', 'A', 'B', 'C', 'D', 'dt_bias')
FLOPS = 8, 22  # d A, d B u, the recurrence, C h + D u; backward: both recurrences, and 14 for the gradients

BACKENDS = (
    register('selective_scan', 'triton', triton_launch, INPUTS, FLOPS),
    register('selective_scan', 'numba', numba_launch, INPUTS, FLOPS),
    register('selective_scan', 'vectorized', vectorized, INPUTS, FLOPS),
    Backend('reference', reference.selective_scan, can_always, by_autograd(reference.selective_scan)),
)
