"""Plain pickles of arrays, as detectron2 publishes its models; torch.load takes only what torch.save wrote.

The instructions are read by pickletools and followed here. Numbers, texts and containers are built as they are, arrays
by the stand-ins of damamba.checkpoint.arrays; nothing is imported, and what is none of these is refused by its name.
"""

import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import numpy as np
import torch

from damamba.checkpoint.arrays import PlainArray, PlainType, encoded, from_buffer, no_bytes, reconstruct, scalar
from damamba.checkpoint.checks import MAGIC

VALUES = {
    *('BININT', 'BININT1', 'BININT2', 'LONG1', 'BINFLOAT'),
    *('BINUNICODE', 'SHORT_BINUNICODE', 'BINUNICODE8', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8', 'BYTEARRAY8'),
}
CONSTANTS = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False}
EMPTY = {'EMPTY_DICT': dict, 'EMPTY_LIST': list, 'EMPTY_TUPLE': tuple}
NAMES: dict[str, Callable] = {
    'collections.OrderedDict': OrderedDict,
    'numpy.dtype': PlainType,
    'numpy.ndarray': PlainArray,
    'builtins.bytes': no_bytes,
    '__builtin__.bytes': no_bytes,
    '_codecs.encode': encoded,
    **{f'numpy.{core}.multiarray._reconstruct': reconstruct for core in ('core', '_core')},
    **{f'numpy.{core}.multiarray.scalar': scalar for core in ('core', '_core')},
    **{f'numpy.{core}.numeric._frombuffer': from_buffer for core in ('core', '_core')},
}


def protocol_of(path: Path) -> int | None:
    """The protocol of a plain pickle, by the first bytes of the file; None of anything else, torch's files too."""
    with path.open('rb') as file:
        start = file.read(32)
    plain = start[:1] == b'\x80' and start[1:2] in (b'\2', b'\3', b'\4', b'\5') and MAGIC not in start
    return start[1] if plain else None


def read_model(path: Path, device: str | torch.device) -> dict:
    """What detectron2 keeps of a model: a dict with tensors under ``model``, made of the file's arrays.

    Raises:
        pickle.UnpicklingError: the file holds something else, or carries more than data; the text names it.
    """
    with path.open('rb') as file:
        content = follow(file)
    if not (isinstance(content, Mapping) and isinstance(content.get('model'), Mapping)):
        raise pickle.UnpicklingError(f'it holds a {type(content).__name__} without arrays under "model"')
    arrays = [value for value in content['model'].values() if isinstance(value, PlainArray)]
    if sum(array.nbytes for array in arrays) > path.stat().st_size:
        raise pickle.UnpicklingError('its arrays come to more bytes than the file has')
    return {**content, 'model': {name: _tensor(value, device) for name, value in content['model'].items()}}


def follow(file: IO[bytes]) -> object:
    """Build what a pickle describes."""
    machine = _Machine()
    for instruction, argument, _ in pickletools.genops(file):
        machine.do(instruction.name, argument)
    return machine.stack.pop()


def _tensor(value: object, device: str | torch.device) -> object:
    if not (isinstance(value, PlainArray | np.generic) and value.dtype.kind in 'biuf'):
        return value
    return torch.from_numpy(np.array(value, value.dtype.newbyteorder('='), order='C', subok=False)).to(device)


class _Machine:
    """The stack that a pickle's instructions work on, what lies below its marks, and its memory."""

    def __init__(self):
        self.stack: list = []
        self.marks: list[list] = []
        self.memory: dict[int, object] = {}

    def do(self, name: str, argument: object) -> None:
        stack = self.stack
        if name in VALUES:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in EMPTY:
            stack.append(EMPTY[name]())
        elif name in ('TUPLE1', 'TUPLE2', 'TUPLE3'):
            stack.append(tuple(self._take(int(name[-1]))))
        elif name in ('BINPUT', 'LONG_BINPUT', 'MEMOIZE'):
            self.memory[len(self.memory) if argument is None else argument] = stack[-1]
        elif name in ('BINGET', 'LONG_BINGET'):
            stack.append(self.memory[argument])
        elif name not in ('PROTO', 'FRAME', 'STOP'):
            self._work(name, argument)

    def _work(self, name: str, argument: str | None) -> None:
        if name == 'MARK':
            self.marks.append(self.stack)
            self.stack = []
        elif name == 'TUPLE':
            values = tuple(self._since_mark())
            self.stack.append(values)
        elif name in ('APPEND', 'APPENDS'):
            values = self._since_mark() if name[-1] == 'S' else self._take(1)
            _of(self.stack[-1], list).extend(values)
        elif name in ('SETITEM', 'SETITEMS'):
            values = self._since_mark() if name[-1] == 'S' else self._take(2)
            _of(self.stack[-1], dict, OrderedDict).update(zip(values[::2], values[1::2], strict=True))
        elif name == 'GLOBAL':
            self.stack.append(_named(argument.replace(' ', '.', 1)))
        elif name == 'STACK_GLOBAL':
            self.stack.append(_named('.'.join(_of(part, str) for part in self._take(2))))
        elif name == 'REDUCE':
            self.stack.append(_call(*self._take(2)))
        elif name == 'BUILD':
            _build(self.stack[-2], self.stack.pop())
        else:
            raise pickle.UnpicklingError(f'it carries an instruction {name}, which weights need not')

    def _take(self, count: int) -> list:
        if len(self.stack) < count:
            raise IndexError('an instruction takes more than there is')
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def _since_mark(self) -> list:
        values, self.stack = self.stack, self.marks.pop()
        return values


def _named(name: str) -> Callable:
    if name not in NAMES:
        raise pickle.UnpicklingError(f'it carries {name}, which could run code')
    return NAMES[name]


def _call(function: object, arguments: object) -> object:
    if not any(function is known for known in NAMES.values()):
        raise pickle.UnpicklingError(f'it calls a {type(function).__name__}')
    return function(*_of(arguments, tuple))


def _build(value: object, state: object) -> None:
    if type(value) is not OrderedDict:  # whose attributes, such as the versions of modules, are no weights
        _of(value, PlainArray, PlainType).__setstate__(_of(state, tuple))


def _of(value: object, *kinds: type):
    if type(value) not in kinds:
        raise pickle.UnpicklingError(f'it takes a {type(value).__name__} for a {kinds[0].__name__}')
    return value
