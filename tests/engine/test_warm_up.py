"""The rate rises over 500 iterations, over a share of a short training; a training says at its start what it is."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS

import damamba.register  # noqa: F401
from damamba.cli import train as train_command
from damamba.engine.config_checks import ConfigError
from damamba.engine.warm_up import STUDY, warm_up_of
from tests.detection import ROOT, write_config


def rates(iterations: int, **options) -> list[float]:
    """Of a training whose rate is 1."""
    wrapper = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0))
    cfg = {**dict(type='WarmUp', start_factor=0.001, by_epoch=False, end=iterations), **options}
    scheduler = PARAM_SCHEDULERS.build(cfg, default_args=dict(optimizer=wrapper, epoch_length=7))
    found = []
    for _ in range(min(iterations, 600)):
        found.append(wrapper.param_groups[0]['lr'])
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ('iterations', 'options', 'length'),
    [
        (87_960, {}, 500),
        (12_001, {}, 500),
        (12_000, {}, 500),
        (1_200, {}, 50),
        (25, {}, 2),
        (3, {}, 1),
        (600, dict(share=0.5), 300),
        (600, dict(share=0.5, most=40), 40),
    ],
)
def test_the_rate_rises_over_the_first_iterations_and_stays(iterations, options, length):
    found = rates(iterations, **options)
    for t, rate in enumerate(found):
        assert rate == pytest.approx(0.001 + 0.999 * min(t / length, 1), abs=1e-9), t


def test_a_training_of_one_iteration_has_the_full_rate():
    assert rates(1) == [1.0]


@pytest.mark.parametrize(
    'options', [dict(most=0), dict(share=0.0), dict(share=1.5), dict(by_epoch=True), dict(begin=5)]
)
def test_what_makes_no_sense_is_refused(options):
    with pytest.raises(ValueError, match='WarmUp (takes|counts)'):
        rates(100, **options)


@pytest.mark.parametrize('path', sorted((ROOT / 'configs').glob('mask_rcnn_DAMamba_*.py')), ids=lambda path: path.stem)
def test_the_published_recipes_warm_up_for_exactly_500(path):
    cfg = Config.fromfile(path)
    (warm_up,) = (it for it in cfg.param_scheduler if it.type == 'WarmUp')
    iterations = cfg.train_cfg.max_epochs * 117_266 // cfg.auto_scale_lr.base_batch_size
    assert rates(iterations, **{k: v for k, v in warm_up.items() if k in ('most', 'share')})[499:502] == pytest.approx(
        [0.001 + 0.999 * 499 / 500, 1.0, 1.0]
    )


OWN = """
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch={by_epoch}, begin=0, end={end})]
auto_scale_lr = dict(base_batch_size={base})
"""


@pytest.mark.parametrize(
    ('by_epoch', 'end', 'base', 'warnings'),
    [(False, 500, 16, 2), (False, 3, 1, 0), (True, 2, 1, 1), (False, 500, 1, 1), (False, 3, 16, 1)],
)
def test_a_training_says_what_it_is_and_what_does_not_fit(by_epoch, end, base, warnings, coco, tmp_path):
    config = write_config(tmp_path / 'own.py', coco, extra=OWN.format(by_epoch=by_epoch, end=end, base=base))
    train_command.train([str(config), '--work-dir', str(tmp_path / 'run'), '--no-validate'])
    text = next(Path(tmp_path / 'run').glob('*/*.log')).read_text()
    warm_up = (end - 1) * (4 if by_epoch else 1)
    assert (
        f'Training: total batch 1 (1 x 1 pictures), learning rate 0.0001, 4 iterations (1 epochs), warm-up {warm_up}, '
        f'4 pictures of {coco}/annotations/instances_train2017.json'
    ) in text
    said = ['The recipe is for a total batch of 16' in text, 'lies in its warm-up' in text]
    assert said == [base == 16, warm_up >= 4] and sum(said) == warnings


SLOW = {  # schedulers, and in how many iterations of 4 an epoch they reach the rate
    'constant': (dict(type='ConstantLR', factor=0.1, by_epoch=False, end=500), 499),
    'quadratic': (dict(type='mmdet.QuadraticWarmupLR', by_epoch=True, convert_to_iter_based=True, end=5), 19),
    'of the momentum': (dict(type='LinearMomentum', start_factor=0.1, by_epoch=False, end=500), 0),
    'later': (dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=2, end=500), 0),
    'falling': (dict(type='LinearLR', start_factor=1.0, end_factor=0.1, by_epoch=False, end=500), 0),
}


@pytest.mark.parametrize('what', SLOW)
def test_whatever_keeps_the_rate_low_from_the_first_iteration_on_is_a_warm_up(what):
    settings, length = SLOW[what]
    wrapper = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9))
    options = dict(optimizer=wrapper, epoch_length=4)
    convert = settings.get('convert_to_iter_based')
    cls = PARAM_SCHEDULERS.get(settings['type'])
    rest = {k: v for k, v in settings.items() if k not in ('type', 'convert_to_iter_based')}
    scheduler = cls.build_iter_from_epoch(**options, **rest) if convert else cls(wrapper, **rest)
    assert warm_up_of(SimpleNamespace(param_schedulers=[scheduler])) == length


BY_ITERATIONS = """
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=3)
optim_wrapper = dict(accumulative_counts=2)
auto_scale_lr = dict(base_batch_size=4, enable=True)
param_scheduler = []
default_hooks = dict(checkpoint=dict(by_epoch=False))
"""


def test_iterations_are_no_epochs_and_accumulated_steps_are_no_part_of_a_scaled_rate(coco, tmp_path):
    config = write_config(tmp_path / 'own.py', coco, extra=BY_ITERATIONS)
    train_command.train([str(config), '--work-dir', str(tmp_path / 'run'), '--no-validate'])
    text = next(Path(tmp_path / 'run').glob('*/*.log')).read_text()
    assert 'total batch 2 (1 x 1 pictures x 2 steps), learning rate 2.5e-05, 3 iterations, warm-up 0' in text
    assert 'the learning rate is for a total batch of 1, and this one is 2' in text


def test_a_trial_of_a_study_that_lies_in_its_warm_up_is_refused(coco, tmp_path, monkeypatch):
    """Its rate would not be the one that the study searches for."""
    config = write_config(tmp_path / 'own.py', coco, extra=OWN.format(by_epoch=False, end=500, base=1))
    monkeypatch.setenv(STUDY, '1')
    with pytest.raises(ConfigError, match='training of 4 iterations lies in its warm-up of 499'):
        train_command.train([str(config), '--work-dir', str(tmp_path / 'run'), '--no-validate'])
    assert not list((tmp_path / 'run').glob('*.pth'))
