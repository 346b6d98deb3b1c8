"""A resume follows the config and the run's own folder, and goes on as if nothing had happened."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from damamba.checkpoint import CheckpointError, CheckpointFolder
from damamba.engine.optimizer_state import restore_optimizers
from damamba.engine.schedule import Unscheduled, place_schedule
from tests.engine import toy
from tests.engine.toy import trained

ITERATIONS = dict(
    train_cfg=dict(_delete_=True, type='IterBasedTrainLoop', max_iters=18, val_interval=5),
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=7),
        dict(type='PolyLR', by_epoch=False),
    ],
    default_hooks=dict(checkpoint=dict(by_epoch=False, interval=4)),
)
BEST = dict(default_hooks__checkpoint__save_best='toy/acc', default_hooks__checkpoint__rule='greater')
EMA = dict(custom_hooks=[dict(type='EMAHook', momentum=0.1)])


@pytest.fixture(autouse=True)
def no_scores():
    toy.ToyMetric.scores = []


def state_of(runner) -> dict[str, torch.Tensor]:
    """Every number that goes on: weights, statistics, averages, the optimizer's state."""
    found = dict(runner.model.state_dict())
    found |= {
        f'average.{n}': it
        for h in runner.hooks
        if hasattr(h, 'ema_model')
        for n, it in h.ema_model.state_dict().items()
    }
    states = runner.optim_wrapper.state_dict()['state'].items()
    return found | {f'{number}.{name}': torch.as_tensor(it) for number, parts in states for name, it in parts.items()}


def content_of(path) -> dict:
    return torch.load(path, weights_only=False)


def digests(folder: Path) -> dict[str, str]:
    return {str(it): hashlib.sha256(it.read_bytes()).hexdigest() for it in sorted(folder.rglob('*')) if it.is_file()}


SGD = dict(optim_wrapper__optimizer=dict(_delete_=True, type='SGD', lr=0.01, momentum=0.9, weight_decay=0.1))
CASES = {
    'in an epoch': (8, {}),
    'after the last step of an epoch': (12, {}),
    'by iterations': (7, ITERATIONS),
    'by iterations, without an end': (10, {**ITERATIONS, 'train_dataloader__sampler__type': 'InfiniteSampler'}),
    'while gradients are accumulated': (8, dict(optim_wrapper__accumulative_counts=5)),
    'with averaged weights': (4, EMA),
    'with momentum': (
        8,
        dict(optim_wrapper__optimizer=dict(_delete_=True, type='SGD', lr=0.01, momentum=0.9, weight_decay=0.1)),
    ),
}


@pytest.mark.parametrize('name', CASES)
def test_it_goes_on_bit_for_bit(name, tmp_path):
    stop, settings = CASES[name]
    whole = trained(tmp_path / 'whole', **settings)
    first = trained(tmp_path / 'run', stop_after=stop, **settings)
    second = trained(tmp_path / 'run', resume=True, randomness__seed=None, train_dataloader__num_workers=1, **settings)
    assert first.model.losses + second.model.losses == whole.model.losses
    assert first.model.seen + second.model.seen == whole.model.seen
    assert first.rates + second.rates == whole.rates and len(second.rates) == 18 - stop
    ours, wanted = state_of(second), state_of(whole)
    assert ours.keys() == wanted.keys() and all(torch.equal(ours[key], wanted[key]) for key in wanted)
    assert second.seed == 1 and all('BatchNorm' in text or 'be restarted' in text for text in second.said)


def test_each_rank_has_an_order_of_its_own_seed_which_is_found_again(tmp_path):
    settings = dict(randomness=dict(seed=1, diff_rank_seed=True))
    first = trained(tmp_path / 'run', stop_after=8, **settings)
    second = trained(tmp_path / 'run', resume=True, **settings)
    seen = [index for batch in (first.model.seen + second.model.seen)[6:12] for index in batch]
    assert sorted(seen) == list(range(toy.COUNT))


@pytest.fixture(scope='module')
def two_epochs(tmp_path_factory):
    """A training that ended after two epochs."""
    folder = tmp_path_factory.mktemp('two') / 'run'
    trained(folder, epochs=2)
    return folder


@pytest.mark.parametrize(
    ('settings', 'said'),
    [
        (dict(epochs=5), ''),
        (
            dict(optim_wrapper__optimizer__lr=0.003),
            "lr: 0.003 in the config, 0.01 in the checkpoint: the config's is taken",
        ),
        (
            dict(optim_wrapper__optimizer__betas=(0.8, 0.99), optim_wrapper__optimizer__weight_decay=0.2),
            'betas: (0.8, 0.99) in the config, (0.9, 0.999) in the checkpoint',
        ),
        (dict(param_scheduler=[dict(type='StepLR', step_size=1, gamma=0.3)]), ''),
        (dict(param_scheduler=[dict(type='ReduceOnPlateauLR', monitor='toy/acc')]), 'what it had measured is left out'),
        (
            dict(train_dataloader__batch_size=4),
            'iteration 12 becomes 6: trained with 1 x 2 pictures, 6 iterations an epoch',
        ),
    ],
    ids=['longer', 'rate', 'other settings', 'other schedule', 'plateau', 'batch'],
)
def test_schedule_and_settings_are_the_configs_at_the_step_that_was_reached(two_epochs, tmp_path, settings, said):
    settings = dict(epochs=3) | settings
    undisturbed = trained(tmp_path / 'undisturbed', **settings)
    resumed = trained(tmp_path / 'resumed', resume=two_epochs / 'epoch_2.pth', **settings)
    done = 2 * len(resumed.train_dataloader)
    assert resumed.rates == undisturbed.rates[done:] and len(resumed.rates) == resumed.max_iters - done > 0
    groups = [{k: v for k, v in it.items() if k != 'params'} for it in resumed.optim_wrapper.param_groups]
    assert groups == [{k: v for k, v in it.items() if k != 'params'} for it in undisturbed.optim_wrapper.param_groups]
    assert said in '\n'.join(resumed.said)


def test_a_plateau_goes_on_from_what_was_measured(tmp_path):
    settings = dict(
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=5),
            dict(type='ReduceOnPlateauLR', monitor='toy/acc', patience=0),
        ]
    )
    whole = trained(tmp_path / 'whole', epochs=4, **settings)
    trained(tmp_path / 'run', epochs=4, stop_after=15, **settings)
    resumed = trained(tmp_path / 'run', resume=True, epochs=4, **settings)
    assert resumed.rates == whole.rates[15:] and whole.rates[6][0] > whole.rates[15][0] > whole.rates[-1][0]


def test_ninety_thousand_steps_of_hundreds_of_groups_are_replayed_to_the_bit(monkeypatch):
    layers = [nn.Linear(1, 1, bias=False) for _ in range(300)]
    schedule = [
        dict(type='LinearLR', start_factor=0.001, by_epoch=False, end=500),
        dict(type='CosineAnnealingLR', by_epoch=False, begin=500, end=90_000, T_max=89_500),
    ]
    monkeypatch.setattr(toy.DAMambaRunner, 'train_dataloader', range(1))

    def placed(count: int, step: int) -> list[float]:
        groups = [dict(params=list(it.parameters()), lr=0.1 * (1 + i % 2)) for i, it in enumerate(layers[:count])]
        runner = toy.DAMambaRunner.__new__(toy.DAMambaRunner)
        vars(runner).update(optim_wrapper=OptimWrapper(torch.optim.AdamW(groups)), _train_loop=None)
        unscheduled = Unscheduled(runner.optim_wrapper, schedule)
        runner.param_schedulers = runner._build_param_scheduler(schedule, runner.optim_wrapper)
        if step:
            place_schedule(runner, unscheduled, dict(optimizer={}), 0, step)
        for _ in range(90_000 - step):
            for scheduler in runner.param_schedulers:
                scheduler.step()
        return [group['lr'] for group in runner.optim_wrapper.param_groups]

    wanted = placed(2, 0)
    assert placed(300, 89_990) == [*wanted[:2] * 150, wanted[-1]] and 0 < wanted[0] < wanted[1] < 1e-6


def test_state_finds_its_parameters_by_name_in_another_grouping(two_epochs, tmp_path):
    path, keys = two_epochs / 'epoch_2.pth', {'first.weight': dict(lr_mult=0.5), 'last': dict(lr_mult=0.1)}
    one_group = dict(optim_wrapper__paramwise_cfg=dict(_delete_=True))
    other = dict(optim_wrapper__paramwise_cfg=dict(_delete_=True, custom_keys=keys))
    trained(tmp_path / 'one', epochs=2, **one_group)
    for source, settings in ((path, other), (path, one_group), (tmp_path / 'one/epoch_2.pth', other)):
        resumed = trained(tmp_path / 'run', resume=source, epochs=2, **settings)
        saved = content_of(source)
        order = saved['meta']['optimizers']['']['parameters']
        for name, value in resumed.model.named_parameters():
            wanted = saved['optimizer']['state'][order.index(name)]
            assert torch.equal(resumed.optim_wrapper.optimizer.state[value]['exp_avg'], wanted['exp_avg']), name


def altered(two_epochs, tmp_path, change) -> Path:
    content = content_of(two_epochs / 'epoch_2.pth')
    change(content)
    torch.save(content, tmp_path / 'altered.pth')
    return tmp_path / 'altered.pth'


def test_without_names_the_order_has_to_fit(two_epochs, tmp_path):
    def shorten(content):
        del content['meta']['optimizers']
        content['optimizer']['param_groups'].pop()

    path = altered(two_epochs, tmp_path, lambda content: content['meta'].pop('optimizers'))
    assert len(trained(tmp_path / 'run', resume=path).rates) == 6
    with pytest.raises(CheckpointError, match='5 parameters without their names, which does not fit the 6'):
        trained(tmp_path / 'run', resume=altered(two_epochs, tmp_path, shorten))


def test_what_lacks_is_named(two_epochs, tmp_path):
    for change, lacking in (
        (lambda content: content.pop('optimizer'), 'optimizer'),
        (lambda content: (content.pop('message_hub'), content['meta'].pop('iter')), 'message_hub, iter in meta'),
    ):
        path = altered(two_epochs, tmp_path, change)
        with pytest.raises(CheckpointError, match=f'it lacks {lacking}.*: nothing to resume; .*load_from=PATH'):
            trained(tmp_path / 'run', resume=path)


def test_another_optimizer_is_refused_with_and_without_its_name(two_epochs, tmp_path):
    with pytest.raises(CheckpointError, match='has the state of AdamW, and the config has SGD; .*load_from='):
        trained(tmp_path / 'run', resume=two_epochs / 'epoch_2.pth', **SGD)
    path = altered(two_epochs, tmp_path, lambda content: content['meta'].pop('optimizers'))
    with pytest.raises(CheckpointError, match='another optimizer, without dampening, momentum, nesterov, and'):
        trained(tmp_path / 'run', resume=path, **SGD)


class Scaled(OptimWrapper):
    """As MMEngine's AmpOptimWrapper, which wants a GPU."""

    def __init__(self, optimizer, scale=None, enabled=True):
        super().__init__(optimizer)
        self._scale_update_param = scale
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=scale or 2.0**16, enabled=enabled)


def test_the_loss_scale_that_was_found_goes_on_and_one_without_goes_on_too():
    model = nn.Linear(1, 1)

    def made(kind=Scaled, **options):
        return kind(torch.optim.AdamW(model.parameters()), **options)

    saved = made().optimizer.state_dict() | {'loss_scaler': dict(made().loss_scaler.state_dict(), scale=128.0)}
    for wrapper, state, scale in (
        (made(), saved, 128.0),
        (made(scale=512.0), saved, 512.0),  # the config's
        (made(), {**saved, 'loss_scaler': {}}, 2.0**16),
        (made(enabled=False), saved, 1.0),
        (made(OptimWrapper), saved, None),
    ):
        restore_optimizers(wrapper, model, dict(meta={}, optimizer=state), 'a.pth')
        assert scale is None or wrapper.loss_scaler.get_scale() == scale


def test_in_an_epoch_another_batch_is_refused_and_at_its_end_it_is_not(tmp_path):
    trained(tmp_path / 'run', stop_after=8)
    larger = dict(train_dataloader__batch_size=3)
    wanted = (
        'of iteration 8, in the middle of an epoch, .*1 x 2 pictures, 6 .*; this run has 1 x 3 pictures, 4 iterations'
    )
    with pytest.raises(CheckpointError, match=wanted):
        trained(tmp_path / 'run', resume=True, **larger)
    resumed = trained(tmp_path / 'run', resume=tmp_path / 'run/epoch_1.pth', **larger)
    assert resumed.rates and resumed.train_loop.iter == 12 and len(resumed.model.losses) == 8
    trained(tmp_path / 'end', stop_after=6)  # with the end of the epoch still to come
    assert len(trained(tmp_path / 'end', resume=True, **larger).model.losses) == 8
    trained(tmp_path / 'steps', stop_after=5, **ITERATIONS)
    with pytest.raises(CheckpointError, match='1 x 3 pictures, no epochs: which data .* same batch and processes$'):
        trained(tmp_path / 'steps', resume=True, **ITERATIONS, **larger)


def test_another_seed_is_said_and_taken(two_epochs, tmp_path):
    resumed = trained(tmp_path / 'run', resume=two_epochs / 'epoch_2.pth', randomness__seed=4)
    assert resumed.seed == 4 and any('seed: 4 is given, 1 in the checkpoint' in text for text in resumed.said)


def test_where_nothing_is_left_it_says_so_and_ends_well(two_epochs, tmp_path):
    resumed = trained(tmp_path / 'run', resume=two_epochs / 'epoch_2.pth', epochs=1)
    assert not resumed.rates and any('has 2 of 1 epochs: nothing is left to train' in text for text in resumed.said)


def test_another_runs_folder_stays_as_it_is_and_the_best_is_looked_for_anew(tmp_path):
    toy.ToyMetric.scores = [0.9, 0.1, 0.5]
    trained(tmp_path / 'A', epochs=1, **BEST)
    before = digests(tmp_path / 'A')
    resumed = trained(tmp_path / 'B', resume=tmp_path / 'A/epoch_1.pth', **BEST)
    assert digests(tmp_path / 'A') == before and any('best_toy_acc_epoch_1' in name for name in before)
    assert [it.name for it in (tmp_path / 'B').glob('best*')] == ['best_toy_acc_epoch_3.pth']  # 0.5, and not 0.9
    assert any('the best checkpoint is looked for anew' in text for text in resumed.said)


def test_a_copied_folder_goes_on_from_its_own_newest_and_keeps_its_own_best(tmp_path):
    toy.ToyMetric.scores = [0.9, 0.1]
    trained(tmp_path / 'A', epochs=2, **BEST)
    shutil.copytree(tmp_path / 'A', tmp_path / 'B')
    trained(tmp_path / 'A', resume=True, epochs=3, **BEST)
    before = digests(tmp_path / 'A')
    toy.ToyMetric.scores = [0.95]
    resumed = trained(tmp_path / 'B', resume=True, **BEST)
    assert Path(resumed._load_from) == tmp_path / 'B/epoch_2.pth' and digests(tmp_path / 'A') == before
    assert [it.name for it in (tmp_path / 'B').glob('best*')] == ['best_toy_acc_epoch_3.pth']


def test_a_damaged_newest_is_passed_over_and_where_none_is_whole_all_are_named(two_epochs, tmp_path):
    shutil.copytree(two_epochs, tmp_path / 'run')
    with (tmp_path / 'run/epoch_2.pth').open('r+b') as file:
        file.truncate(1000)
    resumed = trained(tmp_path / 'run', resume=True, epochs=1)
    assert any('epoch_2.pth is damaged' in text for text in resumed.said)
    (tmp_path / 'run/epoch_1.pth').write_bytes(b'')
    with pytest.raises(CheckpointError, match=r'no checkpoint in .*/run is whole: .*epoch_1.pth.*epoch_2.pth'):
        trained(tmp_path / 'run', resume=True)
    assert len(trained(tmp_path / 'empty', resume=True, epochs=1).rates) == 6


def test_a_validation_that_was_still_due_comes_first(tmp_path):
    toy.ToyMetric.scores = [0.9]
    trained(tmp_path / 'run', epochs=1, val_dataloader=None, val_cfg=None, val_evaluator=None)
    content = content_of(tmp_path / 'run/epoch_1.pth')
    folder = CheckpointFolder(tmp_path / 'run')
    folder.write('epoch_1.pth', content, step=6, epoch=1)
    trained(tmp_path / 'run', resume=True, epochs=1, **BEST)
    assert (tmp_path / 'run/best_toy_acc_epoch_1.pth').is_file() and not toy.ToyMetric.scores
    if folder.entries()['epoch_1.pth']['validated']:  # and once is enough
        toy.ToyMetric.scores = [0.95]
        trained(tmp_path / 'run', resume=True, epochs=1, **BEST)
        assert toy.ToyMetric.scores == [0.95]


def test_patience_is_not_given_anew(tmp_path):
    settings = dict(custom_hooks=[dict(type='EarlyStoppingHook', monitor='toy/acc', patience=3)])
    whole = trained(tmp_path / 'whole', epochs=9, **settings)
    trained(tmp_path / 'run', epochs=9, stop_after=15, **settings)
    resumed = trained(tmp_path / 'run', resume=True, epochs=9, **settings)
    assert whole.epoch == resumed.epoch == 4


@pytest.fixture
def restarted(monkeypatch):
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '1')
    monkeypatch.setenv('DAMAMBA_STARTED', '0')


def of_two_processes(path: Path) -> None:
    """Let a checkpoint say that two processes had trained it."""
    content, folder = content_of(path), CheckpointFolder(path.parent)
    content['meta']['sampling']['processes'] = 2
    entry = folder.entries()[path.name]
    folder.write(path.name, content, step=entry['iter'], epoch=entry['epoch'], kind=entry['kind'])


def test_a_restart_goes_on_whichever_machines_are_there(tmp_path, restarted):
    trained(tmp_path / 'run', stop_after=8)
    of_two_processes(tmp_path / 'run/iter_8.pth')
    again = trained(tmp_path / 'run', restarted=True)
    assert len(again.rates) == 12 and Path(again._load_from).name == 'epoch_1.pth'
    assert any('Start 2: going on from the newest checkpoint' in text for text in again.said)
    assert any("epoch_1.pth, of an epoch's end, is taken" in text for text in again.said)
    trained(tmp_path / 'new', stop_after=3)
    of_two_processes(tmp_path / 'new/iter_3.pth')
    again = trained(tmp_path / 'new', restarted=True)
    assert len(again.rates) == 18 and any('it starts as at first' in text for text in again.said)


def test_whether_a_restart_resumes_is_the_main_processs_to_say(tmp_path, restarted, monkeypatch):
    trained(tmp_path / 'run', stop_after=8)
    monkeypatch.setenv('DAMAMBA_STARTED', '1e12')  # of a machine that came later
    monkeypatch.setattr('damamba.engine.resuming.is_main_process', lambda: False)

    def from_main(found: list) -> None:
        found[0] = ((True, str(tmp_path / 'run/iter_8.pth'), []), None)

    monkeypatch.setattr('damamba.engine.resuming.broadcast_object_list', from_main)
    assert len(trained(tmp_path / 'run', restarted=True).rates) == 10


def test_an_altered_file_is_not_resumed(two_epochs, tmp_path):
    shutil.copytree(two_epochs, tmp_path / 'run')
    content = content_of(tmp_path / 'run/epoch_2.pth')
    content['state_dict']['last.bias'] += 1
    torch.save(content, tmp_path / 'run/epoch_2.pth')
    (tmp_path / 'link.pth').symlink_to(tmp_path / 'run/epoch_2.pth')
    for path in (tmp_path / 'run/epoch_2.pth', tmp_path / 'link.pth'):
        with pytest.raises(CheckpointError, match=r'epoch_2.pth is damaged \('):
            trained(tmp_path / 'other', resume=path)


def stopped_unsaved(monkeypatch, *args, **settings) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(toy, 'save', lambda runner: None)
        trained(*args, **settings)


def test_what_was_abandoned_is_not_returned_to(tmp_path, monkeypatch):
    run = tmp_path / 'run'
    trained(run)
    stopped_unsaved(monkeypatch, run, resume=run / 'epoch_1.pth', stop_after=8)
    again = trained(run, resume=True, epochs=1)
    assert Path(again._load_from).name == 'epoch_1.pth' and not any('earlier training' in it for it in again.said)
    stopped_unsaved(monkeypatch, run, resume=run / 'epoch_3.pth', epochs=4, stop_after=20)  # after all
    assert Path(trained(run, resume=True)._load_from).name == 'epoch_3.pth'
    stopped_unsaved(monkeypatch, run, stop_after=2)
    again = trained(run, resume=True)
    assert Path(again._load_from).name == 'epoch_3.pth' and any('of an earlier training' in it for it in again.said)


def test_where_all_files_are_gone_there_is_none(tmp_path):
    trained(tmp_path / 'run', epochs=1)
    (tmp_path / 'run/epoch_1.pth').unlink()
    assert len(trained(tmp_path / 'run', resume=True, epochs=1).rates) == 6


@pytest.mark.parametrize(
    ('epoch', 'step'), [(2, 10**10), (10**10, 10**10), (2, -5), (2, 6.0), ('1', 12), (13, 12), (True, 12)]
)
def test_a_position_that_can_not_be_is_refused(two_epochs, tmp_path, epoch, step):
    path = altered(two_epochs, tmp_path, lambda content: content['meta'].update(epoch=epoch, iter=step))
    with pytest.raises(CheckpointError, match=f'epoch {epoch!r} and iteration {step!r}, which can not be'):
        trained(tmp_path / 'run', resume=path)


def test_a_position_far_beyond_the_end_has_nothing_left(two_epochs, tmp_path):
    far = dict(epoch=10**9, iter=6 * 10**8 * 3)
    path = altered(two_epochs, tmp_path, lambda content: content['meta'].update(far))
    with pytest.raises(CheckpointError, match='in the middle of an epoch'):
        trained(tmp_path / 'run', resume=path)
    far = dict(epoch=10**8, iter=6 * 10**8)
    path = altered(two_epochs, tmp_path, lambda content: content['meta'].update(far))
    resumed = trained(tmp_path / 'run', resume=path)
    assert any('nothing is left to train' in text for text in resumed.said)


def test_without_an_ema_hook_the_trained_weights_go_on(tmp_path):
    whole = trained(tmp_path / 'run', epochs=1, **EMA)
    content = content_of(tmp_path / 'run/epoch_1.pth')
    wanted, average = whole.model.state_dict()['last.weight'], content['state_dict']['last.weight']
    resumed = trained(tmp_path / 'plain', resume=tmp_path / 'run/epoch_1.pth', epochs=1)
    assert torch.equal(resumed.model.state_dict()['last.weight'], wanted) and not torch.equal(wanted, average)
    assert any('no EMAHook: the trained ones are taken' in text for text in resumed.said)


def test_before_the_first_best_none_is_missed(tmp_path):
    later = {**BEST, 'val_cfg': dict(type='ValLoop'), 'train_cfg__val_begin': 3}
    trained(tmp_path / 'run', epochs=1, **later)
    resumed = trained(tmp_path / 'run', resume=True, **later)
    assert not any('looked for anew' in text for text in resumed.said)
