"""Whatever is done to a module acts: then the formula runs, in which every module is called."""

import copy
from collections import Counter
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils import weight_norm as old_weight_norm

from damamba import execution
from damamba.execution import memory
from damamba.models.damamba import Block
from damamba.models.layers import Stem
from damamba.models.mixer import Mixer
from tests.models.helpers import mini

SIZE = 1, 16, 9, 7
LAYERS = [  # every linear and 1x1 layer of a block
    'token_mixer.in_proj',
    'token_mixer.out_proj',
    'token_mixer.da_scan.offset',
    'mlp.fc1',
    'mlp.fc2',
]
CONVS = [*LAYERS, 'pos_embed.conv', 'token_mixer.conv2d', 'token_mixer.da_scan.dw_conv.0', 'mlp.conv.conv']


@pytest.fixture(autouse=True)
def every_size_is_worth_it(monkeypatch):
    monkeypatch.setattr(memory, 'WORTH', 0)


@pytest.fixture(params=['training', 'inference'])
def mode(request):
    """Training with stochastic depth, or inference on the CPU: both have strategies."""
    return request.param


def make(mode, drop_path=0.3):
    torch.manual_seed(0)
    return Block(16, 2, drop_path, True, dict(type='BN'), False).train(mode == 'training')


def call(module, x, mode):
    torch.manual_seed(1)
    with torch.set_grad_enabled(mode == 'training'):
        return module(x)


def chosen(block, x):
    strategy = execution._choose(execution.BLOCK, block, x)
    return strategy.name if strategy else 'formula'


def choice(block, mode):
    with torch.set_grad_enabled(mode == 'training'):
        return chosen(block, torch.randn(SIZE))


def test_each_case_has_its_strategy(monkeypatch):
    x = torch.randn(SIZE)
    assert choice(make('inference'), 'inference') == 'strips'
    assert chosen(make('inference'), x) == 'memory'  # gradients in evaluation
    assert choice(make('training'), 'training') == 'skipping'
    assert choice(make('training', 0.0), 'training') == 'memory'
    assert choice(make('training'), 'inference') == 'skipping'  # no gradients in training
    assert chosen(make('inference').to('meta'), x.to('meta')) == 'formula'
    monkeypatch.setattr(memory, 'WORTH', x.numel() + 1)
    assert choice(make('training', 0.0), 'training') == 'formula'
    monkeypatch.setattr(torch.compiler, 'is_compiling', lambda: True)
    assert choice(make('inference'), 'inference') == 'formula'


def test_only_allows_what_is_named():
    with execution.only('memory'):
        assert choice(make('training'), 'training') == 'memory' and choice(make('inference'), 'inference') == 'formula'
    with execution.only():
        assert choice(make('training'), 'training') == 'formula'
    assert choice(make('training'), 'training') == 'skipping'


def leaves(model):
    return {name: m for name, m in model.named_modules() if not list(m.children())}


@pytest.mark.parametrize('kind', ['forward', 'forward_pre', 'full_backward', 'full_backward_pre'])
def test_a_hook_on_every_leaf_fires_in_every_leaf(kind, mode):
    if 'backward' in kind and mode == 'inference':
        pytest.skip('there is no backward')
    model = mini(drop_path_rate=0.3).train(mode == 'training')
    fired = Counter()
    for name, leaf in leaves(model).items():
        getattr(leaf, f'register_{kind}_hook')(lambda *args, name=name: fired.update([name]))
    outs = call(model, torch.randn(2, 3, 64, 64), mode)
    if mode == 'training':
        before = fired.copy()
        sum(out.mean() for out in outs).backward()
        assert kind.startswith('full') or fired == before  # nothing is computed twice
    wanted = {name: 2 if name.endswith('drop_path') else 1 for name in leaves(model)}
    if 'backward' in kind:
        wanted = {name: fired[name] for name in wanted if name.endswith('drop_path') and fired[name]} | {
            name: 1 for name in wanted if not name.endswith('drop_path')
        }
    assert fired == wanted


def test_one_hook_on_any_part_fires(mode):
    x = torch.randn(SIZE)
    for name in dict(make(mode).named_modules()):
        block, fired = make(mode), []
        block.get_submodule(name).register_forward_hook(lambda *args, fired=fired: fired.append(1))
        call(block, x, mode)
        assert fired, name


def test_a_hook_for_all_modules_sees_all(mode):
    block, seen = make(mode), []
    hook = nn.modules.module.register_module_forward_hook(lambda module, *args: seen.append(module))
    try:
        call(block, torch.randn(SIZE), mode)
    finally:
        hook.remove()
    assert set(seen) == set(block.modules())
    assert choice(block, mode) != 'formula'


def test_what_mmengine_and_torch_make_of_batch_normalisation_changes_nothing(mode):
    block = make(mode)
    assert choice(nn.SyncBatchNorm.convert_sync_batchnorm(block), mode) != 'formula'
    utils = pytest.importorskip('mmengine.model')
    block = utils.revert_sync_batchnorm(block)
    assert type(block.norm2) not in (nn.BatchNorm2d, nn.SyncBatchNorm) and choice(block, mode) != 'formula'
    block.norm2.forward = lambda x: x
    assert choice(block, mode) == 'formula'


class LoRA(nn.Module):
    """A frozen layer and, beside it, two small ones."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer.requires_grad_(False)
        if isinstance(layer, nn.Linear):
            self.down, self.up = nn.Linear(layer.in_features, 2, bias=False), nn.Linear(2, layer.out_features)
        else:
            self.down = nn.Conv2d(layer.in_channels, 2, 1, bias=False)
            self.up = nn.Conv2d(2, layer.out_channels, 1)

    def forward(self, x):
        return self.layer(x) + self.up(self.down(x))


def replace(block, name, change):
    parent, _, child = name.rpartition('.')
    parent = block.get_submodule(parent)
    setattr(parent, child, change(getattr(parent, child)))


@pytest.mark.parametrize('name', LAYERS)
def test_a_lora_on_each_layer_acts_and_trains(name, mode):
    x, block = torch.randn(4, *SIZE[1:]), make(mode)
    nn.init.ones_(block.layer_scale_1)
    nn.init.ones_(block.layer_scale_2)
    before = call(block, x, mode)
    replace(block, name, LoRA)
    after = call(block, x, mode)
    assert not torch.allclose(after, before)
    if mode == 'training':
        after.square().sum().backward()
        lora = block.get_submodule(name)
        assert all(p.grad.abs().sum() > 0 for p in (*lora.up.parameters(), *lora.down.parameters()))


def half(module):
    prune.l1_unstructured(module, 'weight', 0.5)
    return module


CHANGES = {
    'pruned': half,
    'weight_norm': parametrizations.weight_norm,
    'old weight_norm': old_weight_norm,
    'spectral_norm': parametrizations.spectral_norm,
}


@pytest.mark.filterwarnings('ignore:.*weight_norm.*deprecated')
@pytest.mark.parametrize('change', CHANGES)
@pytest.mark.parametrize('name', CONVS)
def test_pruned_and_parametrized_layers_act_as_in_the_formula(name, change, mode, close):
    x, block = torch.randn(4, *SIZE[1:]), make(mode)
    CHANGES[change](block.get_submodule(name))
    same = copy.deepcopy(block) if change != 'old weight_norm' and change != 'pruned' else block
    value = call(block, x, mode)
    torch.manual_seed(1)
    with torch.set_grad_enabled(mode == 'training'), execution.only():
        close(value, same.formula(x))
    if mode == 'training':
        value.square().sum().backward()
        layer = block.get_submodule(name)
        assert all(p.grad.isfinite().all() for p in layer.parameters())
        if change == 'pruned':
            assert (layer.weight == 0).float().mean() > 0.4 and layer.weight_orig.grad.abs().sum() > 0


class Marked(torch.Tensor):
    """A tensor of another kind, as quantized weights are."""


def own_forward(block):
    block.mlp.act.forward = lambda x: x * 0


def another_activation(block):
    block.mlp.act = nn.ReLU()


def the_same_kind_elsewhere(block):
    block.mlp.act, block.token_mixer.act = block.token_mixer.act, block.mlp.act


def one_more_part(block):
    block.mlp.dropout = nn.Dropout()


def own_method(block):
    block.mlp.fc1._conv_forward = nn.Conv2d(16, 32, 1)._conv_forward


def another_scan(block):
    scan = block.token_mixer.scan
    block.token_mixer.scan = lambda u: 2 * scan(u)


def another_drop_path(block):
    block.drop_path = nn.Identity()


def another_normalisation(block):
    block.norm2 = nn.GroupNorm(4, 16)


def another_kind_of_tensor(block):
    weight = block.mlp.fc1.weight
    block.mlp.fc1.weight = nn.Parameter(weight.detach().as_subclass(Marked))


def a_plain_tensor(block):
    del block.mlp.fc1.weight
    block.mlp.fc1.weight = torch.zeros(32, 16, 1, 1)


@pytest.mark.parametrize(
    'change',
    [
        own_forward,
        own_method,
        another_activation,
        another_scan,
        another_drop_path,
        another_normalisation,
        the_same_kind_elsewhere,
        one_more_part,
        another_kind_of_tensor,
        a_plain_tensor,
    ],
)
def test_changed_parts_leave_the_formula(change, mode):
    block = make(mode)
    assert choice(block, mode) != 'formula'
    change(block)
    assert choice(block, mode) == 'formula'
    call(block, torch.randn(SIZE), mode)


class TwiceMixer(Mixer):
    def forward(self, x):
        return 2 * super().forward(x)


class TwiceBlock(Block):
    def formula(self, x):
        return 2 * super().formula(x)


def test_what_is_built_of_other_classes_runs_the_formula(mode, monkeypatch):
    assert choice(TwiceBlock(16, 2, 0.3, True, dict(type='BN'), False).train(mode == 'training'), mode) == 'formula'
    monkeypatch.setattr('damamba.models.damamba.Mixer', TwiceMixer)
    assert choice(make(mode), mode) == 'formula'


def test_a_class_that_was_changed_runs_the_formula(mode, monkeypatch):
    block = make(mode)
    monkeypatch.setattr(nn.GELU, 'forward', lambda self, x: x.relu())
    assert choice(block, mode) == 'formula'


@pytest.mark.parametrize(
    'change',
    [
        lambda m: setattr(m.stages[0], 'blocks', nn.ModuleList([nn.Identity()])),
        lambda m: m.stages.insert(1, nn.Sequential(m.stages.pop(1))),
        lambda m: setattr(m.stages[0].blocks[0], 'drop_path', nn.Identity()),
        lambda m: m.stem.insert(2, nn.Dropout()),
        lambda m: m.stem.__setitem__(1, nn.GroupNorm(4, 8)),
    ],
)
def test_a_model_whose_parts_were_replaced_runs(change, mode):
    model = mini(drop_path_rate=0.3).train(mode == 'training')
    change(model)
    assert len(call(model, torch.randn(2, 3, 64, 64), mode)) == 4


def test_weights_of_another_size_or_another_epsilon_act_in_the_strategies_too(mode, close):
    x, block = torch.randn(SIZE), make(mode)
    block.norm1.norm.eps, block.norm2.eps = 0.3, 0.4
    block.token_mixer.out_norm.norm.eps = 0.5
    block.mlp.act.approximate = 'tanh'
    block.mlp.fc1, block.mlp.fc2 = nn.Conv2d(16, 48, 1), nn.Conv2d(48, 16, 1)
    block.mlp.conv = type(block.mlp.conv)(48)
    assert choice(block.train(mode == 'training'), mode) != 'formula'
    truth_of = copy.deepcopy(block)
    value = call(block, x, mode)
    torch.manual_seed(1)
    with torch.set_grad_enabled(mode == 'training'), execution.only():
        close(value, truth_of(x))


def test_the_stem_has_the_same_question(mode):
    stem, fired = Stem(3, 16, dict(type='BN')).train(mode == 'training'), []
    stem[2].register_forward_hook(lambda *args: fired.append(1))
    call(stem, torch.randn(2, 3, 32, 32), mode)
    assert fired


@pytest.mark.parametrize('training', [True, False])
def test_a_meta_backbone_gives_shapes(training):
    model = mini(drop_path_rate=0.3).to('meta').train(training)
    with torch.enable_grad() if training else torch.no_grad():
        outs = model(torch.empty(2, 3, 64, 96, device='meta'))
    assert [tuple(out.shape) for out in outs] == [(2, 16, 16, 24), (2, 32, 8, 12), (2, 48, 4, 6), (2, 64, 2, 3)]
    with torch.autocast('cpu', torch.bfloat16) if training else nullcontext():
        assert len(model(torch.empty(2, 3, 64, 64, device='meta'))) == 4


@pytest.mark.parametrize('with_cp', [False, True])
def test_a_functional_call_takes_the_tensors_it_is_given_and_gives_them_gradients(with_cp, mode, close):
    x, block, other = torch.randn(SIZE), make(mode), make(mode)
    block.with_cp = with_cp
    values = {name: nn.Parameter(torch.randn_like(p)) for name, p in block.named_parameters() if p.requires_grad}
    other.load_state_dict({**other.state_dict(), **values})
    value = call(lambda x: torch.func.functional_call(block, values, (x,)), x, mode)
    with execution.only():
        truth = call(other, x, mode)
    close(value, truth)
    if mode == 'training':  # the backward comes when the block has its own again
        own = dict(other.named_parameters())
        grads, truths = torch.autograd.grad(value.sum(), list(values.values())), [own[name] for name in values]
        for grad, expected in zip(grads, torch.autograd.grad(truth.sum(), truths), strict=True):
            close(grad, expected)
