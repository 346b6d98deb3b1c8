"""Backends of :func:`damamba.ops.selective_scan`, the preferred one first."""

from damamba.ops.backend import Backend, can_always
from damamba.ops.registration import register
from damamba.ops.selective_scan import reference, vectorized

INPUTS = ('u', 'dt', 'A', 'B', 'C', 'D', 'dt_bias')
FLOPS = 8, 22  # d A, d B u, the recurrence, C h + D u; backward: both recurrences, and 14 for the gradients


def _operator(name: str, module) -> Backend:
    run = register(f'selective_scan_{name}', INPUTS, module.forward, module.backward, FLOPS)
    return Backend(name, run, getattr(module, 'why_not', can_always))


BACKENDS = (
    _operator('vectorized', vectorized),
    Backend('reference', reference.selective_scan, can_always),
)
