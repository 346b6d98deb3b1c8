"""Backends of :func:`damamba.ops.selective_scan`, the preferred one first."""

from damamba.ops.registration import register
from damamba.ops.selective_scan import numba_launch, reference, triton_launch, vectorized

INPUTS = ('u', 'dt', 'A', 'B', 'C', 'D', 'dt_bias')
FLOPS = 8, 22  # d A, d B u, the recurrence, C h + D u; backward: both recurrences, and 14 for the gradients

BACKENDS = {'triton': triton_launch, 'numba': numba_launch, 'vectorized': vectorized, 'reference': reference}
OPERATOR = register('selective_scan', BACKENDS, INPUTS, FLOPS)
