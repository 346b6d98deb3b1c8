"""Backends of :func:`damamba.ops.adaptive_sample`, the preferred one first."""

from damamba.ops.adaptive_sample import numba_launch, reference, triton_launch, vectorized
from damamba.ops.backend import Backend, by_autograd, can_always
from damamba.ops.registration import register

INPUTS = ('x', 'offset')
FLOPS = 8, 16  # four corners, each a multiply-add; backward: spread to the corners, and as many dot products with them

BACKENDS = (
    register('adaptive_sample', 'triton', triton_launch, INPUTS, FLOPS),
    register('adaptive_sample', 'numba', numba_launch, INPUTS, FLOPS),
    register('adaptive_sample', 'vectorized', vectorized, INPUTS, FLOPS),
    Backend('reference', reference.adaptive_sample, can_always, by_autograd(reference.adaptive_sample)),
)
