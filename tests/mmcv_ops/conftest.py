"""`mmcv.ops` on the stand-in, whatever is installed."""

import sys

import pytest

from damamba import mmcv_ops

mmcv_ops.install()
try:
    import mmcv.ops  # noqa: F401

    from damamba.mmcv_ops import stand_in
except ImportError:  # without OpenMMLab's packages there is nothing to stand in for
    collect_ignore_glob = ['test_*.py']

WRAPPERS = [
    'deform_conv',
    'focal_loss',
    'modulated_deform_conv',
    'multi_scale_deform_attn',
    'nms',
    'roi_align',
    'roi_pool',
]


@pytest.fixture(autouse=True)
def use_stand_in(monkeypatch):
    for name in WRAPPERS:
        monkeypatch.setattr(sys.modules[f'mmcv.ops.{name}'], 'ext_module', stand_in)


@pytest.fixture
def use_compiled(monkeypatch):
    """A call puts the compiled operators in the place of the stand-in."""
    if mmcv_ops.describe() == 'torchvision':
        pytest.skip('there is no compiled mmcv to compare with')

    def switch():
        for name in WRAPPERS:
            monkeypatch.setattr(sys.modules[f'mmcv.ops.{name}'], 'ext_module', sys.modules['mmcv._ext'])

    return switch
