"""NumPy's values as a pickle may bring them: numbers and text, built here from bytes whose length was checked.

NumPy's own ``dtype`` and ``ndarray`` believe a pickle: a type with a subarray or with fields, or an array over a given
buffer, reads memory beyond its bytes. These stand in for them under their names while a checkpoint is read.
"""

import math
import pickle
import re

import numpy as np

# A kind and a size: no object, no record, no subarray.
PLAIN = re.compile(r'[<>=|]?(\?|[biufcSU][0-9]*)')


class PlainType:
    """Stands in for ``numpy.dtype``; as there, the byte order comes as a state of its own."""

    def __init__(self, kind: str, align: bool = False, copy: bool = False):
        if not (isinstance(kind, str) and PLAIN.fullmatch(kind)):
            raise _refusal('numpy.dtype', f'of {kind!r}')
        self.dtype = np.dtype(kind)

    def __setstate__(self, state: tuple) -> None:
        version, order, *structure = state
        if version not in (3, 4) or any(part is not None for part in structure[:3]):  # subarray, names, fields
            raise _refusal('numpy.dtype', 'with a structure')
        if order not in ('<', '>', '=', '|'):
            raise ValueError(f'{order!r} is no byte order')
        self.dtype = self.dtype.newbyteorder(order)

    def __reduce__(self):
        return self.dtype.__reduce__()


class PlainArray(np.ndarray):
    """Stands in for ``numpy.ndarray``: empty at first, as :func:`reconstruct` asks, and then given its bytes once."""

    def __new__(cls, *buffer):
        if buffer:
            raise _refusal('numpy.ndarray', 'over a buffer')
        return super().__new__(cls, (0,), np.int8)

    def __setstate__(self, state: tuple) -> None:
        version, shape, kind, fortran, data = state
        dtype = _plain(kind, 'numpy.ndarray')
        if not (type(shape) is tuple and all(type(length) is int and length >= 0 for length in shape)):
            raise ValueError(f'{shape!r} is no shape')
        if not dtype.itemsize:  # of no bytes there could be any number
            raise _refusal('numpy.ndarray', 'of no width')
        _check_length(data, math.prod(shape) * dtype.itemsize)
        super().__setstate__((version, shape, dtype, bool(fortran), data))

    def __reduce__(self):
        return self.view(np.ndarray).__reduce__()  # saved again, it is NumPy's

    def __reduce_ex__(self, protocol: int):
        return self.view(np.ndarray).__reduce_ex__(protocol)


def reconstruct(kind: type, shape: tuple, typecode: bytes) -> PlainArray:
    """Stand in for NumPy's ``_reconstruct``, which pickles call for an array to give a state to."""
    if kind is not PlainArray:
        raise _refusal('numpy.ndarray', 'of another class')
    return PlainArray()


def from_buffer(data: bytes | bytearray, kind: PlainType, shape: tuple, order: str) -> PlainArray:
    """Stand in for NumPy's ``_frombuffer``, which pickles of protocol 5 call for an array from its bytes."""
    array = PlainArray()
    array.__setstate__((1, shape, kind, order == 'F', bytes(data) if type(data) is bytearray else data))
    return array


def encoded(text: str, encoding: str) -> bytes:
    """Stand in for ``_codecs.encode``, with which pickles of protocol 2 bring bytes as text."""
    if encoding != 'latin1':
        raise _refusal('_codecs.encode', f'to {encoding!r}')
    return text.encode('latin1')


def scalar(kind: PlainType, data: bytes = b'') -> np.generic:
    """Stand in for NumPy's ``scalar``: one number or text from its bytes."""
    dtype = _plain(kind, 'numpy.generic')
    _check_length(data, dtype.itemsize)
    return np.frombuffer(data, dtype)[0] if data else dtype.type()  # an empty text has no bytes


def no_bytes() -> bytes:
    """Stand in for ``bytes``, with which the pickles of torch say that an array is empty."""
    return b''


def _plain(kind: object, name: str) -> np.dtype:
    if type(kind) is not PlainType:
        raise _refusal(name, 'of an unknown type')
    return kind.dtype


def _check_length(data: object, length: int) -> None:
    if type(data) is not bytes:
        raise _refusal('numpy.ndarray', 'of objects')
    if len(data) != length:
        raise ValueError(f'an array of {length} bytes has {len(data)}')


def _refusal(name: str, what: str) -> pickle.UnpicklingError:
    """What torch says of a global that it does not know, so that it is told in the same words."""
    return pickle.UnpicklingError(f'GLOBAL {name} {what}')
