"""What a kernel in Numba is: a C function of a table of addresses and numbers, which every thread runs."""

import ctypes
import hashlib
import logging
import pickle
from functools import cache
from pathlib import Path

import llvmlite.binding
from numba import cfunc, int64, njit, types
from numba.core import sigutils
from numba.core.caching import IndexDataCacheFile
from numba.core.ccallback import CFunc
from numba.extending import intrinsic

from damamba.ops.cpu.lanes import NUMBERS, OPTIONS
from damamba.ops.cpu.threads import openmp

TABLE = types.CPointer(int64)
SIGNATURE = types.void(TABLE)
logger = logging.getLogger(__name__)

for _name in ('omp_get_thread_num', 'omp_get_num_threads'):
    _address = ctypes.cast(getattr(openmp(), _name), ctypes.c_void_p).value
    llvmlite.binding.add_symbol(f'damamba_{_name}', _address)
thread = types.ExternalFunction('damamba_omp_get_thread_num', types.int32())  # the number of this thread, from 0
threads = types.ExternalFunction('damamba_omp_get_num_threads', types.int32())  # how many run this kernel


@cache
def _digest(folder: Path) -> str:
    """Changes with the sources in this folder, and in a kernel's."""
    sources = [path for place in (Path(__file__).parent, folder) for path in sorted(place.glob('*.py'))]
    return hashlib.sha256(b''.join(path.read_bytes() for path in sources)).hexdigest()[:12]


class _CacheFile(IndexDataCacheFile):
    """Numba's cache, in which a damaged file counts as missing: it is compiled and written anew.

    A checksum ends what is written, since machine code with a wrong byte would crash the process.
    """

    def _load_index(self) -> dict:
        try:
            return super()._load_index()
        except Exception as error:  # whatever comes to unpickling
            logger.debug('%s is damaged', self._index_path, exc_info=error)
            return {}

    def _dump(self, content: object) -> bytes:
        data = super()._dump(content)
        return data + hashlib.sha256(data).digest()

    def _load_data(self, name: str) -> object:
        content = Path(self._data_path(name)).read_bytes()
        if hashlib.sha256(content[:-32]).digest() != content[-32:]:
            raise OSError(f'{name} is damaged')  # by which Numba takes it for missing
        return pickle.loads(content)  # up to the checksum


def kernel(function):
    """Compile a function of a table (see :func:`damamba.ops.cpu.threads.run`), or take it from Numba's cache."""
    folder = Path(function.__code__.co_filename).parent
    function.__qualname__ += _digest(folder)  # Numba's cache goes by the name, and by this function's own file
    cached = CFunc(function, sigutils.normalize_signature(SIGNATURE), locals={}, options=OPTIONS)
    try:
        cached.enable_caching()
        cached._cache._cache_file.__class__ = _CacheFile
        cached.compile()
        return cached
    except Exception as error:  # no folder for it, a full disk: there the cache raises whatever comes to it
        _complain(type(error))
        logger.debug('Numba did not cache %s', function.__name__, exc_info=error)
        return cfunc(SIGNATURE, **OPTIONS)(function)


@cache
def _complain(kind: type[Exception]) -> None:
    """Say it once, not for each kernel."""
    text = "Numba's cache fails (%s): each process compiles anew. NUMBA_CACHE_DIR=<an empty folder> may help"
    logger.warning(text, kind.__name__)


@intrinsic
def array(context, table, index):
    """The float32 numbers at an address of the table."""

    def emit(target, builder, signature, args):
        address = builder.load(builder.gep(args[0], [args[1]]))
        return builder.inttoptr(address, target.get_value_type(NUMBERS))

    return NUMBERS(TABLE, int64), emit


@njit(**OPTIONS)
def share(count):
    """What of this many pieces is this thread's: from the first to before the last."""
    part, parts = int64(thread()), int64(threads())
    return count * part // parts, count * (part + 1) // parts
