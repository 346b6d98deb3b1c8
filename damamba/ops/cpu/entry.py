"""What a kernel in Numba is: a C function of a table of addresses and numbers, which every thread runs."""

import hashlib
import logging
from functools import cache
from pathlib import Path

import llvmlite.binding
from numba import cfunc, float32, int64, njit, types
from numba.extending import intrinsic

from damamba.ops.cpu.lanes import NUMBERS, OPTIONS
from damamba.ops.cpu.threads import addresses

TABLE = types.CPointer(int64)
SIGNATURE = types.void(TABLE)
logger = logging.getLogger(__name__)

for _name, _address in addresses().items():
    llvmlite.binding.add_symbol(f'damamba_{_name}', _address)
_thread = types.ExternalFunction('damamba_omp_get_thread_num', types.int32())
_threads = types.ExternalFunction('damamba_omp_get_num_threads', types.int32())


@cache
def _digest(folder: Path) -> str:
    """Changes with the sources in this folder, and in a kernel's."""
    sources = [path for place in (Path(__file__).parent, folder) for path in sorted(place.glob('*.py'))]
    return hashlib.sha256(b''.join(path.read_bytes() for path in sources)).hexdigest()[:12]


def kernel(function):
    """Compile a function of a table (see :func:`damamba.ops.cpu.threads.run`), or take it from Numba's cache."""
    folder = Path(function.__code__.co_filename).parent
    function.__qualname__ += _digest(folder)  # Numba's cache goes by the name, and by this function's own file
    try:
        return cfunc(SIGNATURE, cache=True, **OPTIONS)(function)
    except Exception as error:  # no folder, a full disk, a file cut off: there the cache raises whatever comes to it
        _complain(type(error))
        logger.debug('Numba did not cache %s', function.__name__, exc_info=error)
        return cfunc(SIGNATURE, **OPTIONS)(function)


@cache
def _complain(kind: type[Exception]) -> None:
    """Say it once, not for each kernel."""
    text = "Numba's cache fails (%s): each process compiles anew. NUMBA_CACHE_DIR=<an empty folder> may help"
    logger.warning(text, kind.__name__)


@intrinsic
def number(context, table, index):
    """A whole number of the table."""

    def emit(target, builder, signature, args):
        return builder.load(builder.gep(args[0], [args[1]]))

    return int64(TABLE, int64), emit


@intrinsic
def array(context, table, index):
    """The float32 numbers at an address of the table."""

    def emit(target, builder, signature, args):
        address = builder.load(builder.gep(args[0], [args[1]]))
        return builder.inttoptr(address, target.get_value_type(NUMBERS))

    return NUMBERS(TABLE, int64), emit


@intrinsic
def get(context, pointer, index):
    """One number of an array."""

    def emit(target, builder, signature, args):
        return builder.load(builder.gep(args[0], [args[1]]))

    return float32(NUMBERS, int64), emit


@intrinsic
def put(context, pointer, index, value):
    """Write one number of an array."""

    def emit(target, builder, signature, args):
        builder.store(args[2], builder.gep(args[0], [args[1]]))
        return target.get_dummy_value()

    return types.void(NUMBERS, int64, float32), emit


@njit(**OPTIONS)
def thread():
    """The number of this thread, from 0."""
    return int64(_thread())


@njit(**OPTIONS)
def threads():
    """How many run this kernel."""
    return int64(_threads())


@njit(**OPTIONS)
def share(count):
    """What of this many pieces is this thread's: from the first to before the last."""
    part, parts = thread(), threads()
    return count * part // parts, count * (part + 1) // parts
