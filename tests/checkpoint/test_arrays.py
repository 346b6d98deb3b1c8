"""NumPy's values are read as they were saved, and what would read beyond its bytes is refused."""

import copy
import pickle

import numpy as np
import pytest
import torch

from damamba.checkpoint import read
from tests.checkpoint.helpers import error_of, save


class Call:
    """Pickled, it is a call of a function, and perhaps a state for what that returns."""

    def __init__(self, function, *args, state=None):
        self.call = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.call


def kind(name='i8', subarray=None, names=None, fields=None):
    return Call(np.dtype, name, False, True, state=(3, '<', subarray, names, fields, 8, 8, 0))


def array(dtype, shape, data):
    return Call(RECONSTRUCT, np.ndarray, (0,), b'b', state=(1, shape, dtype, False, data))


RECONSTRUCT, SCALAR = np.ones(1).__reduce__()[0], np.float64(1).__reduce__()[0]
BYTES = b'12345678'
SUBARRAY = kind(subarray=(np.dtype('i8'), (50_000_000,)))
FIELDS = kind('V8', names=('a',), fields={'a': (np.dtype('i8'), 10**9)})
FIELDS_OF_A_NUMBER = kind(names=('a',), fields={'a': (np.dtype('i8'), 10**9)})
FIELDS_WITHOUT_NAMES = kind(fields={'a': (np.dtype('i8'), 10**9)})
STRUCTURES = [SUBARRAY, FIELDS, FIELDS_OF_A_NUMBER, FIELDS_WITHOUT_NAMES]


def refused(value, tmp_path, what, legacy=False):
    path = save({'state_dict': {}, 'meta': {'x': value}}, tmp_path / 'crafted.pth', legacy)
    text = error_of(read, path)
    assert text.startswith(f'{path} was refused: besides weights it carries {what}, ')
    assert '--trust-checkpoint' in text


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
@pytest.mark.parametrize('dtype', STRUCTURES, ids=['subarray', 'fields', 'number', 'nameless'])
def test_a_type_that_reaches_beyond_its_bytes_is_refused(dtype, legacy, tmp_path):
    refused(Call(np.ndarray, (1,), dtype, BYTES), tmp_path, 'numpy.dtype', legacy)
    refused(array(dtype, (1,), BYTES), tmp_path, 'numpy.dtype', legacy)
    refused(Call(SCALAR, dtype, BYTES), tmp_path, 'numpy.dtype', legacy)


@pytest.mark.parametrize('name', ['O', 'O8', 'V8', 'M8', 'm8', '3i8', '(3,)i8', 'i8,i8', 'i8\n', [('a', 'i8')], object])
def test_a_type_of_anything_but_numbers_and_text_is_refused(name, tmp_path):
    if name is object:
        return refused(np.array([{}], dtype=object), tmp_path, 'numpy.dtype')
    return refused(Call(np.dtype, name), tmp_path, 'numpy.dtype')


def test_an_array_over_a_buffer_is_refused(tmp_path):
    refused(Call(np.ndarray, (1,), np.dtype('i8'), BYTES), tmp_path, 'numpy.ndarray')
    refused(Call(np.ndarray, (10**9,)), tmp_path, 'numpy.ndarray')


def test_an_array_of_objects_under_a_type_of_numbers_is_refused(tmp_path):
    refused(array(np.dtype('i8'), (1,), [{}]), tmp_path, 'numpy.ndarray')


def test_an_array_of_something_that_is_no_type_is_refused(tmp_path):
    refused(array('i8', (1,), BYTES), tmp_path, 'numpy.ndarray')
    refused(Call(SCALAR, 'i8', BYTES), tmp_path, 'numpy.generic')
    refused(Call(RECONSTRUCT, 'ndarray', (0,), b'b'), tmp_path, 'numpy.ndarray')


@pytest.mark.parametrize('name', ['U0', 'S0', 'U'])
def test_an_array_of_no_width_is_refused(name, tmp_path):
    refused(array(Call(np.dtype, name), (10**9,), b''), tmp_path, 'numpy.ndarray')


@pytest.mark.parametrize(
    ('shape', 'data'),
    [
        ((2,), BYTES),
        ((1,), BYTES[:7]),
        ((), BYTES * 2),
        ((), b''),
        ((-1,), BYTES),
        ((2**61,), b''),
        ((2**32, 2**32), b''),
        ([1], BYTES),
    ],
)
def test_an_array_of_another_length_than_its_bytes_is_an_error(shape, data, tmp_path):
    path = save({'x': array(np.dtype('i8'), shape, data)}, tmp_path / 'crafted.pth')
    assert f'{path} is cut off or is not a torch checkpoint' in error_of(read, path)


def test_bytes_of_a_number_of_zeros_are_an_error(tmp_path):
    path = save({'x': Call(bytes, 10**15)}, tmp_path / 'crafted.pth')
    assert f'{path} is cut off or is not a torch checkpoint' in error_of(read, path)


@pytest.mark.parametrize('data', [BYTES[:7], BYTES * 2, b''])
def test_a_number_of_another_length_than_its_bytes_is_an_error(data, tmp_path):
    path = save({'x': Call(SCALAR, np.dtype('i8'), data)}, tmp_path / 'crafted.pth')
    assert f'{path} is cut off or is not a torch checkpoint' in error_of(read, path)


ARRAYS = {
    **{
        f'{order}{code}': np.arange(6).reshape(2, 3).astype(f'{order}{code}')
        for order in '<>'
        for code in 'hHiIqQefdFD'
    },
    **{code: np.array([[0, 1, 1]], code) for code in ('?', 'b', 'B')},
    **{f'{order}text': np.array([['cat', 'Möwe'], ['', '犬']]).astype(f'{order}U4') for order in '<>'},
    'bytes': np.array([b'cat', b'']),
    'scalar-like': np.array(1.5),
    'fortran': np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    'strided': np.arange(12.0)[::2],
    'empty': np.ones((0, 3)),
    'nan': np.array([np.nan, np.inf]),
}


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
@pytest.mark.parametrize('name', ARRAYS)
def test_an_array_is_read_as_it_was_saved_and_saved_again(name, legacy, tmp_path):
    path = save({'x': ARRAYS[name]}, tmp_path / 'arrays.pth', legacy)
    found = read(path)['x']
    assert isinstance(found, np.ndarray)
    assert found.dtype == pickle.loads(pickle.dumps(ARRAYS[name], 2)).dtype  # NumPy turns other byte orders round
    assert found.flags.f_contiguous == ARRAYS[name].copy('K').flags.f_contiguous
    np.testing.assert_array_equal(found, ARRAYS[name])
    again = save({'x': found, 'row': found[:1] if found.ndim else found}, tmp_path / 'again.pth')
    assert not [name for name in torch.serialization.get_unsafe_globals_in_checkpoint(again) if 'damamba' in name]
    np.testing.assert_array_equal(read(again)['x'], ARRAYS[name])


NUMBERS = [np.dtype(code).type(1) for code in '?bBhHiIlLefdFD'] + [np.str_('Möwe'), np.str_(''), np.bytes_(b'cat')]


@pytest.mark.parametrize('number', NUMBERS, ids=[f'{type(number).__name__}-{number}' for number in NUMBERS])
def test_a_number_is_read_as_it_was_saved(number, tmp_path):
    found = read(save({'x': number}, tmp_path / 'numbers.pth'))['x']
    assert type(found) is type(number)
    assert found == number


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_array_that_was_read_is_pickled_as_numpys(protocol, tmp_path):
    found = read(save({'x': np.arange(3.0)}, tmp_path / 'arrays.pth'))['x']
    for value in (found, copy.deepcopy(found), np.append(found, 1.0)):
        written = pickle.dumps(value, protocol)
        assert b'damamba' not in written
        assert type(pickle.loads(written)) is np.ndarray


def test_a_type_alone_is_read_and_saved_again(tmp_path):
    found = read(save({'x': np.dtype('>f4')}, tmp_path / 'type.pth'))['x']
    assert np.dtype(found) == np.dtype('>f4')
    assert pickle.loads(pickle.dumps(found)) == np.dtype('>f4')
