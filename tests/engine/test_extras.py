"""The ready parts of configs/_base_/extras, each in a training, and where a training is logged."""

import json
import pickle
import re
import shlex
import sys
from importlib.machinery import ModuleSpec
from math import exp
from types import ModuleType
from unittest.mock import MagicMock

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import VISUALIZERS

from damamba.cli.common import build_runner
from damamba.cli.train import configure, parse
from damamba.engine.config import read_config
from damamba.engine.config_checks import ConfigError, check_packages
from damamba.engine.layer_decay import layer_of
from tests.cli.helpers import logs, test, train
from tests.detection import ROOT, TINY_1X

RATE = 0.01
LAYERS = {'stem': 0}  # of a model with one block a stage
LAYERS |= {f'stages.{i}': i + 1 for i in range(4)} | {f'norm{i}': i for i in range(1, 5)}
FEW = ('train_dataloader.dataset.indices=1', 'val_dataloader.dataset.indices=1')


@pytest.fixture
def leaf(small_config, tmp_path):
    """Write a config that takes one of the extras."""

    def write(extra, lines):
        bases = ['./small.py', str(ROOT / f'configs/_base_/extras/{extra}.py')]
        (tmp_path / 'leaf.py').write_text(f'_base_ = {bases!r}\n{lines}')
        return tmp_path / 'leaf.py'

    return write


def runner_of(config, work_dir, *options, rate=RATE, flags=()):
    """A training at a constant rate."""
    options = ['--cfg-options', 'param_scheduler=[]', f'optim_wrapper.optimizer.lr={rate}', *options]
    args = parse([str(config), '--work-dir', str(work_dir), '--seed', '1', *flags, *options])
    return build_runner(configure(args), ('train', 'val'))


class Recorder(Hook):
    """Keeps the weights after each step, and those that are validated."""

    priority = 'VERY_HIGH'

    def __init__(self):
        self.steps, self.validated = [], None

    def after_train_iter(self, runner, *args, **kwargs):
        self.steps.append({name: value.clone() for name, value in runner.model.state_dict().items()})

    def before_val_iter(self, runner, *args, **kwargs):
        self.validated = {name: value.clone() for name, value in runner.model.state_dict().items()}


def test_the_averaged_weights_are_validated_saved_and_tested(leaf, small_config, tmp_path):
    config = leaf('ema', 'default_hooks = dict(ema=_base_.ema)\n')
    runner = runner_of(config, tmp_path / 'run')
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.train()
    name = 'backbone.stages.2.blocks.0.pos_embed.conv.weight'
    average = recorder.steps[0][name].double()
    for step, weights in enumerate(recorder.steps[1:], 1):
        average = average.lerp(weights[name].double(), 0.0002 + 0.9998 * exp(-(step + 1) / 2000))
    saved = torch.load(tmp_path / 'run/epoch_1.pth', weights_only=False)
    newest = recorder.steps[-1][name]
    for found in (saved['state_dict'][name], recorder.validated[name]):
        torch.testing.assert_close(found.double(), average, rtol=0, atol=1e-7)
        assert not torch.equal(found, newest)
    assert torch.equal(saved['ema_state_dict'][f'module.{name}'], newest)

    flags = ('--tta', '--fuse-conv-bn', '--work-dir', tmp_path / 'test')
    for place, path in enumerate((config, small_config)):
        test(path, tmp_path / 'run/epoch_1.pth', '--out', tmp_path / f'{place}.pkl', *flags)
    ours, plain = (pickle.loads((tmp_path / f'{place}.pkl').read_bytes()) for place in (0, 1))
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one['pred_instances']['bboxes'], other['pred_instances']['bboxes'])

    train(config, '--work-dir', tmp_path / 'run', '--resume', '--cfg-options', 'train_cfg.max_epochs=2')
    assert torch.load(tmp_path / 'run/epoch_2.pth', weights_only=False)['ema_state_dict']['steps'] == 8


def test_a_training_that_gets_no_better_ends_early_and_its_config_tests_without_its_data(leaf, tmp_path):
    lines = 'default_hooks = dict(early_stopping=_base_.early_stopping)\ntrain_cfg = dict(max_epochs=6)\n'
    config = leaf('early_stopping', lines + 'model = dict(backbone=dict(norm_eval=True))\n')
    runner = runner_of(config, tmp_path / 'run', *FEW, rate=0.0)
    runner.train()
    assert runner.epoch == 1 + 3  # the first is the best, the next three are no better
    assert 'the monitored metric did not improve in the last 3 records' in logs(tmp_path / 'run')
    gone = 'train_dataloader.dataset.ann_file=gone.json'
    test(config, tmp_path / 'run/epoch_4.pth', '--work-dir', tmp_path / 'test', '--cfg-options', gone)


# Layer decay.


@pytest.mark.parametrize(
    ('name', 'layer'),
    [
        ('stem.0.weight', 0),
        ('stages.0.blocks.0.norm1.weight', 1),
        ('norm1.bias', 3),
        ('stages.2.downsample.conv.weight', 8),
        ('stages.2.blocks.0.mlp.fc1.bias', 8),
        ('stages.2.blocks.11.mlp.fc1.bias', 19),
        ('norm4.weight', 24),
    ],
)
def test_layers_are_counted_over_all_stages(name, layer):
    assert layer_of(name, (3, 4, 12, 5)) == layer


def test_each_layer_moves_by_its_own_rate(leaf, tmp_path):
    config = leaf('layer_decay', 'optim_wrapper = _base_.layer_decay\n')
    options = (*FEW, 'optim_wrapper.optimizer.eps=1e-16')
    runner = runner_of(config, tmp_path / 'run', *options, flags=['--no-validate'])
    before = {name: value.detach().clone() for name, value in runner.model.named_parameters()}
    recorder = Recorder()
    runner.register_hook(recorder)
    runner._init_model_weights = lambda: None  # which would draw others
    runner.train()
    groups = {id(group['params'][0]): group for group in runner.optim_wrapper.param_groups}
    moved = {}
    for name, value in runner.model.named_parameters():
        if value.requires_grad:
            layer = next((layer for start, layer in LAYERS.items() if name.startswith(f'backbone.{start}.')), 5)
            rate, decay = groups[id(value)]['lr'], groups[id(value)]['weight_decay']
            assert (rate, decay) == (pytest.approx(RATE * 0.9 ** (5 - layer)), 0 if 'norm' in name else 0.05), name
            step = (recorder.steps[0][name] - before[name] * (1 - rate * decay)).abs().max().item()
            if step > rate / 2:  # something has reached it: AdamW's first step is the rate, whatever the gradient
                assert step == pytest.approx(rate, rel=1e-3), name
                moved.setdefault(layer, []).append(name)
    assert sorted(moved) == [0, 1, 2, 3, 4, 5] and min(map(len, moved.values())) > 5


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        ('optim_wrapper.paramwise_cfg.decay_rate=2', 'decay_rate from above 0 to 1, got 2'),
        ('optim_wrapper.paramwise_cfg.custom_keys.norm.decay_mult=0', 'decay_rate from above 0 to 1, got None'),
    ],
)
def test_a_decay_that_makes_no_sense_is_refused(small_config, tmp_path, lines, message):
    options = ('optim_wrapper.constructor=LayerDecay', lines)
    runner = runner_of(small_config, tmp_path, *options, flags=['--no-validate'])
    with pytest.raises(ConfigError, match=message):
        runner.train()


def test_the_documented_config_and_commands_take_the_parts(tmp_path):
    page = (ROOT / 'docs/commands.md').read_text(encoding='utf-8')
    (example,) = (it for it in re.findall(r'```python\n(.*?)```', page, re.DOTALL) if '_base_.ema' in it)
    (tmp_path / 'mine.py').write_text(example.replace("'./", f"'{ROOT}/configs/"))
    cfg = read_config(str(tmp_path / 'mine.py'), {'default_hooks.ema.gamma': 200})
    assert cfg.default_hooks.ema == dict(cfg.ema, gamma=200) and cfg.default_hooks.checkpoint.save_best
    assert cfg.default_hooks.early_stopping.type == 'EarlyStoppingHook'
    commands = re.findall(r'^damamba train .*?--cfg-options.*?(?=\n```)', page, re.DOTALL | re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        args = parse(shlex.split(command.replace('\\\n', ' '))[2:])
        assert read_config(str(ROOT / args.config), args.cfg_options)


# Logging.


@pytest.fixture
def tensorboard(monkeypatch):
    """A TensorBoard that notes what it is given: [(folder, tag, value)]."""
    noted, module = [], ModuleType('torch.utils.tensorboard')

    class SummaryWriter(MagicMock):
        def __init__(self, folder, **kwargs):
            super().__init__(**kwargs)
            self.add_scalar = lambda tag, value, step: noted.append((folder, tag, value))

        def _get_child_mock(self, **kwargs):
            return MagicMock(**kwargs)

    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', module)
    monkeypatch.setattr(torch.utils, 'tensorboard', module, raising=False)
    return noted


def test_tensorboard_gets_what_scalars_json_gets(small_config, tmp_path, tensorboard):
    train(small_config, '--work-dir', tmp_path / 'run', '--cfg-options', *FEW, f'visualizer.name={tmp_path.name}')
    (file,) = tmp_path.glob('run/*/vis_data/scalars.json')
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    written = {(key, value) for row in rows for key, value in row.items() if key != 'step'}
    assert {(tag, value) for _, tag, value in tensorboard} == written
    assert {'loss', 'coco/segm_mAP'} <= {tag for tag, _ in written}
    assert {folder for folder, _, _ in tensorboard} == {str(file.parent)}


@pytest.mark.parametrize('broken', [None, 'raise AttributeError("module numpy has no attribute bool8")'])
def test_without_a_tensorboard_that_loads_there_are_the_other_logs(tmp_path, monkeypatch, broken):
    monkeypatch.delitem(sys.modules, 'torch.utils.tensorboard', raising=False)
    monkeypatch.delitem(sys.modules, 'tensorboard', raising=False)
    (tmp_path / 'tensorboard.py').write_text(broken or '')
    monkeypatch.syspath_prepend(tmp_path) if broken else monkeypatch.setitem(sys.modules, 'tensorboard', None)
    settings = {**read_config(str(TINY_1X)).visualizer, 'name': tmp_path.name, 'save_dir': str(tmp_path)}
    if broken:
        with pytest.warns(UserWarning, match='TensorBoard does not load, and gets nothing: module numpy'):
            visualizer = VISUALIZERS.build(settings)
    else:
        visualizer = VISUALIZERS.build(settings)
    visualizer.add_scalars({'loss': 0.5}, step=3)
    assert json.loads((tmp_path / 'vis_data/scalars.json').read_text()) == {'loss': 0.5, 'step': 3}


def test_a_config_s_own_visualizer_stays(tmp_path):
    own = "visualizer = dict(vis_backends=[dict(type='LocalVisBackend')])\n"
    (tmp_path / 'own.py').write_text(f'_base_ = {str(TINY_1X)!r}\n{own}')
    assert read_config(str(tmp_path / 'own.py')).visualizer.vis_backends == [dict(type='LocalVisBackend')]


@pytest.mark.parametrize(
    ('name', 'package'),
    [('Wandb', 'wandb'), ('MLflow', 'mlflow'), ('ClearML', 'clearml'), ('Tensorboard', 'tensorboard')],
)
def test_another_service_takes_one_setting_and_its_package(tmp_path, monkeypatch, name, package):
    cfg = read_config(str(TINY_1X), {'visualizer.vis_backends.1.type': f'{name}VisBackend'})
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=f'{name}VisBackend needs {package}, .*: pip install {package}$'):
        check_packages(cfg)
    service = MagicMock()
    service.__spec__ = ModuleSpec(package, None)
    monkeypatch.setitem(sys.modules, package, service)
    if package == 'tensorboard':
        monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', service)
    check_packages(cfg)
    visualizer = VISUALIZERS.build({**cfg.visualizer, 'name': tmp_path.name, 'save_dir': str(tmp_path)})
    visualizer.add_scalars({'loss': 0.125}, step=3)
    assert '0.125' in f'{service.mock_calls}'
