"""Backends of :func:`damamba.ops.adaptive_sample`, the preferred one first."""

from damamba.ops.adaptive_sample import numba_launch, reference, triton_launch, vectorized
from damamba.ops.registration import register

INPUTS = ('x', 'offset')
FLOPS = 8, 16  # four corners, each a multiply-add; backward: spread to the corners, and as many dot products with them

BACKENDS = {'triton': triton_launch, 'numba': numba_launch, 'vectorized': vectorized, 'reference': reference}
OPERATOR = register('adaptive_sample', BACKENDS, INPUTS, FLOPS)
