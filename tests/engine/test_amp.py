"""Mixed precision: which half type a machine trains in, and that it does so without a GPU."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

import damamba.register  # noqa: F401
from damamba.engine.amp import Bfloat16OptimWrapper, use_amp
from damamba.engine.config import prepare
from tests.detection import ROOT

OPTIMIZER = dict(type='AdamW', lr=1e-2)
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has a GPU, where MMEngine has AMP')


@pytest.fixture
def gpu(monkeypatch):
    """Let this machine seem to have a GPU with or without bfloat16."""

    def pretend(bfloat16: bool) -> None:
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
        monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation=True: bfloat16)
        monkeypatch.setattr('damamba.engine.amp.get_device', lambda: 'cuda')

    return pretend


@pytest.mark.parametrize(
    ('bfloat16', 'dtype', 'loss_scale'), [(True, 'bfloat16', dict(enabled=False)), (False, 'float16', 'dynamic')]
)
def test_a_gpu_trains_in_bfloat16_where_it_has_it_and_else_in_float16_with_a_dynamic_scale(
    gpu, bfloat16, dtype, loss_scale
):
    gpu(bfloat16)
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper', optimizer=OPTIMIZER)))
    use_amp(cfg.optim_wrapper)
    assert prepare(cfg) == [f'Mixed precision in {dtype} on the GPU.']
    wanted = dict(type='AmpOptimWrapper', optimizer=OPTIMIZER, dtype=dtype, loss_scale=loss_scale)
    assert cfg.optim_wrapper.to_dict() == wanted


def test_what_a_config_says_of_mixed_precision_stays(gpu):
    gpu(True)
    wrapper = dict(type='AmpOptimWrapper', dtype='float16', loss_scale=512.0)
    use_amp(wrapper)
    assert wrapper == dict(type='AmpOptimWrapper', dtype='float16', loss_scale=512.0)
    half = dict(type='AmpOptimWrapper', dtype='float16')
    use_amp(half)
    assert half['loss_scale'] == 'dynamic'
    ours = dict(type='Bfloat16OptimWrapper')
    use_amp(ours)
    assert ours == dict(type='Bfloat16OptimWrapper')


def test_a_published_recipe_with_amp_stays_as_published_on_a_gpu(gpu):
    gpu(True)
    cfg = Config.fromfile(ROOT / 'configs/mask_rcnn_DAMamba_tiny_fpn_3x.py')
    assert prepare(cfg) == ['Mixed precision in float16 on the GPU.']
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.loss_scale) == ('AmpOptimWrapper', 'dynamic')


@no_gpu
@pytest.mark.parametrize('dtype', [None, 'float16', 'bfloat16'])
def test_without_a_gpu_mixed_precision_is_built_and_in_bfloat16(dtype):
    cfg = Config.fromfile(ROOT / 'configs/mask_rcnn_DAMamba_tiny_fpn_3x.py')
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    cfg.optim_wrapper.update(dtype=dtype, clip_grad=dict(max_norm=1), use_fsdp=False)
    assert prepare(cfg) == prepare(cfg) == ['Mixed precision in bfloat16 on the CPU.']
    options = dict(cfg.optim_wrapper, optimizer=torch.optim.AdamW(nn.Linear(2, 2).parameters()))
    del options['paramwise_cfg']
    assert type(OPTIM_WRAPPERS.build(options)) is Bfloat16OptimWrapper


def test_without_mixed_precision_nothing_is_changed_or_said():
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper', optimizer=OPTIMIZER)))
    assert prepare(cfg) == [] and prepare(Config()) == []
    assert cfg.optim_wrapper.to_dict() == dict(type='OptimWrapper', optimizer=OPTIMIZER)


def test_the_wrapper_computes_in_bfloat16_and_keeps_weights_gradients_and_state_in_float32(device):
    model = nn.Linear(4, 2).to(device)
    wrapper = Bfloat16OptimWrapper(torch.optim.AdamW(model.parameters(), lr=1e-2))
    before = model.weight.detach().clone()
    with wrapper.optim_context(model):
        y = model(torch.ones(3, 4, device=device))
    wrapper.backward(y.float().square().sum())
    wrapper.step()
    assert y.dtype == torch.bfloat16
    assert model.weight.dtype == model.weight.grad.dtype == torch.float32 and not torch.equal(model.weight, before)
    assert {value.dtype for state in wrapper.optimizer.state.values() for value in state.values()} == {torch.float32}


def test_gradients_too_small_for_float16_train_without_a_scale():
    weight = nn.Parameter(torch.ones(()))
    wrapper = Bfloat16OptimWrapper(torch.optim.SGD([weight], lr=1.0))
    with wrapper.optim_context(nn.Module()):
        loss = torch.full((1, 1), 1e-20) @ weight.view(1, 1)
    assert loss.dtype == torch.bfloat16
    wrapper.backward(loss.sum())
    assert weight.grad == pytest.approx(1e-20, rel=1e-2)


def test_a_float32_training_goes_on_in_mixed_precision_and_back():
    model = nn.Linear(2, 2)
    plain = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=1e-2))
    plain.update_params(model(torch.ones(1, 2)).sum())
    mixed = Bfloat16OptimWrapper(torch.optim.AdamW(model.parameters(), lr=1e-2))
    mixed.load_state_dict(plain.state_dict())
    plain.load_state_dict(mixed.state_dict())
    assert len(plain.optimizer.state) == len(mixed.optimizer.state) == 2
