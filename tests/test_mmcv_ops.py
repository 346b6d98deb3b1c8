"""mmcv without its operators, with those of another torch, or not there: one sentence each, with the command."""

import sys

import pytest

from damamba import mmcv_ops
from damamba.cli.environment import ROOT, read_pins


@pytest.fixture
def fake_mmcv(tmp_path, monkeypatch):
    """An empty mmcv in the place of the installed one; returns its folder."""
    for name in [name for name in sys.modules if name.split('.')[0] == 'mmcv']:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / 'mmcv'
    for name in [name for name in sys.modules if name.split('.')[0] == 'mmcv']:
        del sys.modules[name]


def assert_names_the_commands(error):
    assert 'run `make install` in a checkout of DAMamba' in str(error.value)
    assert '--no-build-isolation --no-cache-dir --force-reinstall --no-deps onedl-mmcv==2.3.6`' in str(error.value)


def test_the_version_in_the_sentence_is_the_tested_one():
    pins = read_pins((ROOT / 'requirements.txt').read_text(encoding='utf-8'))
    assert pins['onedl-mmcv'] == f'onedl-mmcv=={mmcv_ops.TESTED_MMCV}'


def test_mmcv_without_operators_is_one_sentence(fake_mmcv):
    with pytest.raises(ImportError, match='mmcv was installed without its compiled operators') as error:
        mmcv_ops.require_mmcv_ops()
    assert_names_the_commands(error)
    assert mmcv_ops.compiled_for() is None


def test_a_missing_mmcv_is_another_sentence(monkeypatch):
    monkeypatch.setattr(mmcv_ops.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match='onedl-mmcv is not installed') as error:
        mmcv_ops.require_mmcv_ops()
    assert_names_the_commands(error)
    assert mmcv_ops.compiled_for() is None


def test_operators_of_another_torch_are_a_third_sentence(fake_mmcv):
    (fake_mmcv / '_ext.py').write_text("raise ImportError('undefined symbol: _ZN3c106detail')")
    with pytest.raises(ImportError, match=r'compiled for another torch \(undefined symbol: _ZN3c106detail\)') as error:
        mmcv_ops.require_mmcv_ops()
    assert_names_the_commands(error)


def test_what_the_operators_were_compiled_for_is_known(fake_mmcv):
    (fake_mmcv / '_ext.py').write_text("get_compiling_cuda_version = lambda: '13.0'")
    assert mmcv_ops.compiled_for() == 'cuda'
    (fake_mmcv / '_ext.py').write_text("get_compiling_cuda_version = lambda: 'not available'  # CPU")
    assert mmcv_ops.compiled_for() == 'cpu'


def test_a_shared_library_that_does_not_load_counts_as_no_operators(fake_mmcv):
    from importlib.machinery import EXTENSION_SUFFIXES

    (fake_mmcv / f'_ext{EXTENSION_SUFFIXES[0]}').write_bytes(b'not a library')
    assert mmcv_ops.compiled_for() is None
    with pytest.raises(ImportError, match='compiled for another torch'):
        mmcv_ops.require_mmcv_ops()


def test_the_installed_mmcv_has_its_operators():
    pytest.importorskip('mmcv')
    mmcv_ops.require_mmcv_ops()
    assert mmcv_ops.compiled_for() in ('cpu', 'cuda')
