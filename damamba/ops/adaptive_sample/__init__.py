"""Backends of :func:`damamba.ops.adaptive_sample`, the preferred one first."""

from damamba.ops.adaptive_sample import reference, vectorized
from damamba.ops.backend import Backend, can_always
from damamba.ops.registration import register

INPUTS = ('x', 'offset')
FLOPS = 8, 16  # four corners, each a multiply-add; backward: spread to the corners, and as many dot products with them


def _operator(name: str, module) -> Backend:
    run = register(f'adaptive_sample_{name}', INPUTS, module.forward, module.backward, FLOPS)
    return Backend(name, run, getattr(module, 'why_not', can_always))


BACKENDS = (
    _operator('vectorized', vectorized),
    Backend('reference', reference.adaptive_sample, can_always),
)
