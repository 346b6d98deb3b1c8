"""Plain pickles of arrays, as detectron2 publishes models, are read as data; what carries more is refused."""

import os
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest
import torch

from damamba.checkpoint import read, state_dict_of
from tests.checkpoint.helpers import error_of
from tests.checkpoint.test_arrays import BYTES, STRUCTURES, Call, array, kind

KINDS = ['f2', 'f4', 'f8', '>f4', 'i8', 'i4', 'u1', '?']


def written(content, path, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_a_model_of_detectron2_is_read_number_by_number(protocol, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {name: (9 * rng.normal(size=(3, 4))).astype(name) for name in KINDS}
    arrays |= {'fortran': np.asfortranarray(arrays['f4']), 'number': np.array(2.5), 'none': np.ones((0, 3))}
    content = {
        'model': OrderedDict(arrays),
        '__author__': 'third_party',
        'matching_heuristics': True,
        'iteration': 2**40,
    }
    result = read(written(content, tmp_path / 'model.pkl', protocol))
    state, container = state_dict_of(result)
    assert container == 'model' and list(state) == list(arrays)
    for name, value in arrays.items():
        assert torch.equal(state[name], torch.from_numpy(value.astype(value.dtype.newbyteorder('='))))
        assert state[name].is_contiguous()
    assert {key: result[key] for key in content if key != 'model'} == {
        key: value for key, value in content.items() if key != 'model'
    }


def test_it_is_read_to_where_it_is_wanted(tmp_path):
    path = written({'model': {'a': np.ones(3, 'f4')}}, tmp_path / 'model.pkl')
    assert read(path, map_location=None)['model']['a'].tolist() == [1, 1, 1]
    assert read(path, map_location=torch.device('cpu'))['model']['a'].device.type == 'cpu'


HOSTILE = {
    'system': (Call(os.system, 'touch marker'), 'posix.system, which could run code'),
    'eval': (Call(eval, 'open("marker", "w")'), '.eval, which could run code'),
    'tensor': (torch.zeros(3), r'torch._utils._rebuild_tensor_v2'),
    'objects': (np.array([{}], dtype=object), "numpy.dtype of 'O8'"),
    **{f'structure {number}': (it, 'numpy.dtype ') for number, it in enumerate(STRUCTURES)},
    'short': (array(kind(), (9,), BYTES), 'an array of 72 bytes has 8'),
    'buffer': (Call(np.ndarray, (9,), kind()), 'numpy.ndarray over a buffer'),
}


@pytest.mark.parametrize('protocol', [2, 4])
@pytest.mark.parametrize('name', HOSTILE)
def test_what_carries_more_than_data_is_refused_by_its_name(name, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value, what = HOSTILE[name]
    path = written({'model': {'a': value}}, tmp_path / 'hostile.pkl', protocol)
    text = error_of(read, path)
    assert text.startswith(f'{path} is ') and f'a plain pickle of protocol {protocol}, ' in text and what in text
    assert not (tmp_path / 'marker').exists()


CRAFTED = {  # instructions between the protocol's and the end's
    'a call of no function': b'}N\x85R.',
    'a call of a class of ours': b'ccollections\nOrderedDict\nN\x85R.',
    'a state for a function': b'cnumpy.core.multiarray\nscalar\n}b.',
    'a state for a class': b'cnumpy\nndarray\n)b.',
    'an append to an array': b'cnumpy\nndarray\n)RK\1a.',
    'memory that is not there': b'h\7.',
    'nothing below': b'\x85.',
    'no mark': b't.',
    'an odd dictionary': b'}(K\1u.',
    'a key that is no key': b'}]K\1s.',
    'an instruction that makes objects': b'ccollections\nOrderedDict\n)\x81.',
    'a number for bytes': (
        b'cnumpy.core.numeric\n_frombuffer\n(J\xff\xff\xff\x7fcnumpy\ndtype\nX\2\0\0\0i8\x85RK\1\x85X\1\0\0\0CtR.'
    ),
    'bytes that are announced alone': b'\x8e' + struct.pack('<Q', 2**50) + b'.',
    'no end': b'}',
}


@pytest.mark.parametrize('name', CRAFTED)
def test_what_is_no_pickle_of_data_is_an_error_in_a_sentence(name, tmp_path):
    path = tmp_path / 'crafted.pkl'
    path.write_bytes(b'\x80\2' + CRAFTED[name])
    text = error_of(read, path)
    assert (
        text.startswith(f'{path} is ')
        and 'a plain pickle of protocol 2' in text
        and 'wanted arrays under "model"' in text
    )


def test_the_same_bytes_are_not_many_arrays(tmp_path):
    data = bytes(8 * 10**5)
    path = written({'model': {str(n): array(kind(), (10**5,), data) for n in range(20)}}, tmp_path / 'many.pkl')
    assert path.stat().st_size < 2 * len(data)
    assert 'its arrays come to more bytes than the file has' in error_of(read, path)
