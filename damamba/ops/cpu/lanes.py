"""Eight numbers of float32 at once, in Numba's kernels for the CPU, and the few functions that they need.

Numba vectorises a loop where LLVM can prove that its arrays don't overlap, which it can't here. So a kernel says what
it means: ``store(y, i, load(x, i) * scale)`` is eight products. With a number, an operator takes it eight times.
"""

import math
import operator

from llvmlite import ir
from numba import float32, int64, njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

from damamba.ops.cpu.threads import WIDTH

NUMBERS = types.CPointer(float32)
FUSED = ('contract',)  # a product and a sum may be rounded once
OPTIONS = dict(error_model='numpy', fastmath={'contract'})  # dividing by 0 is not an error; NaN and inf count

_FLOAT, _INT = ir.FloatType(), ir.IntType(32)
_FLOATS, _INTS = ir.VectorType(_FLOAT, WIDTH), ir.VectorType(_INT, WIDTH)


class Lanes(types.Type):
    """The type of eight numbers."""

    def __init__(self):
        super().__init__(name='Lanes')


lanes = Lanes()


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _FLOATS)


def _eight(builder: ir.IRBuilder, pointer: ir.Value, index: ir.Value) -> ir.Value:
    return builder.bitcast(builder.gep(pointer, [index]), _FLOATS.as_pointer())


def _constant(value: float) -> ir.Constant:
    return ir.Constant(_FLOATS, [value] * WIDTH)


@intrinsic
def load(context, pointer, index):
    """The eight numbers from this index on."""
    return lanes(NUMBERS, int64), lambda _, builder, __, args: builder.load(_eight(builder, *args), align=4)


@intrinsic
def store(context, pointer, index, value):
    """Write eight numbers from this index on."""

    def emit(target, builder, signature, args):
        builder.store(args[2], _eight(builder, *args[:2]), align=4)
        return target.get_dummy_value()

    return types.void(NUMBERS, int64, lanes), emit


@intrinsic
def splat(context, number):
    """One number, eight times."""

    def emit(target, builder, signature, args):
        first = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), args[0], ir.Constant(_INT, 0))
        return builder.shuffle_vector(first, first, ir.Constant(_INTS, [0] * WIDTH))

    return lanes(float32), emit


@intrinsic
def total(context, value):
    """The sum of the eight numbers, in one order."""

    def emit(target, builder, signature, args):
        kind = ir.FunctionType(_FLOAT, [_FLOAT, _FLOATS])
        add = cgutils.get_or_insert_function(builder.module, kind, f'llvm.vector.reduce.fadd.v{WIDTH}f32')
        return builder.call(add, [ir.Constant(_FLOAT, 0.0), args[0]], fastmath=('reassoc',))

    return float32(lanes), emit


def _define(symbol, emit) -> None:
    """Let an operator take eight numbers and eight, or eight and one."""

    @intrinsic
    def both(context, a, b):
        return lanes(lanes, lanes), lambda _, builder, __, args: emit(builder, *args)

    @overload(symbol, inline='always')
    def choose(a, b):
        if a is lanes and b is lanes:
            return lambda a, b: both(a, b)
        if a is lanes and isinstance(b, types.Number):
            return lambda a, b: both(a, splat(float32(b)))
        if b is lanes and isinstance(a, types.Number):
            return lambda a, b: both(splat(float32(a)), b)


_define(operator.add, lambda builder, a, b: builder.fadd(a, b, flags=FUSED))
_define(operator.iadd, lambda builder, a, b: builder.fadd(a, b, flags=FUSED))
_define(operator.sub, lambda builder, a, b: builder.fsub(a, b, flags=FUSED))
_define(operator.mul, lambda builder, a, b: builder.fmul(a, b, flags=FUSED))
_define(operator.truediv, lambda builder, a, b: builder.fdiv(a, b))


def _pick(relation):
    @intrinsic
    def pick(context, a, b):
        def emit(_, builder, signature, args):
            return builder.select(builder.fcmp_ordered(relation, *args), *args)

        return lanes(lanes, lanes), emit

    return pick


larger, smaller = _pick('>'), _pick('<')  # of two; the second where one is NaN


def _of_llvm(name):
    @intrinsic
    def call(context, x):
        def emit(target, builder, signature, args):
            kind = ir.FunctionType(_FLOATS, [_FLOATS])
            function = cgutils.get_or_insert_function(builder.module, kind, f'llvm.{name}.v{WIDTH}f32')
            return builder.call(function, args)

        return lanes(lanes), emit

    return call


magnitude, nearest = _of_llvm('fabs'), _of_llvm('rint')  # |x|; x rounded to a whole number


@intrinsic
def positive(context, x, yes, no):
    """Choose from yes where x > 0, else from no."""

    def emit(_, builder, signature, args):
        return builder.select(builder.fcmp_ordered('>', args[0], _constant(0.0)), *args[1:])

    return lanes(lanes, lanes, lanes), emit


@intrinsic
def power_of_two(context, n):
    """2^n for whole n from -126 to 127: n is the exponent of a float32. For -127 it is 0."""

    def emit(_, builder, signature, args):
        exponent = builder.add(builder.fptosi(args[0], _INTS), ir.Constant(_INTS, [127] * WIDTH))
        return builder.bitcast(builder.shl(exponent, ir.Constant(_INTS, [23] * WIDTH)), _FLOATS)

    return lanes(lanes), emit


LOG2_E = 1 / math.log(2)
LN2_HIGH = 355 / 512  # few bits: its products with whole numbers are exact
LN2_LOW = math.log(2) - LN2_HIGH
LOWEST, HIGHEST = -88.0, 88.0  # e^-88 is below the normal numbers, and 0 here: power_of_two(-127)


@njit(**OPTIONS)
def exp(x):
    """e^x, to a rounding or two; beyond -88 and 88 as there.

    e^x = 2^n e^r, |r| <= ln(2) / 2, by the series of e^r.
    """
    x = larger(splat(float32(LOWEST)), smaller(splat(float32(HIGHEST)), x))
    n = nearest(x * LOG2_E)
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    tail = r * (1 / 5040) + 1 / 720
    tail = tail * r + 1 / 120
    tail = tail * r + 1 / 24
    tail = tail * r + 1 / 6
    tail = tail * r + 1 / 2
    return (tail * r * r + r + 1.0) * power_of_two(n)


@njit(**OPTIONS)
def softplus(x):
    """log(1 + e^x), and its derivative.

    It is max(x, 0) + log(1 + z), z = e^-|x|, and log(1 + z) = 2 artanh(s), s = z / (2 + z) <= 1/3, by its series.
    """
    z = exp(0.0 - magnitude(x))
    s = z / (z + 2.0)
    q = s * s
    series = q * (2 / 13) + 2 / 11
    series = series * q + 2 / 9
    series = series * q + 2 / 7
    series = series * q + 2 / 5
    series = series * q + 2 / 3
    series = series * q + 2.0
    return larger(splat(float32(0.0)), x) + series * s, positive(x, splat(float32(1.0)), z) / (z + 1.0)
