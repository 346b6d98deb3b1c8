"""Checkpoints are saved with MMEngine's options, in the background, and only if they are good."""

import re
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import CheckpointHook, EMAHook, Hook

import damamba.register  # noqa: F401
from damamba.checkpoint import CheckpointError, CheckpointFolder, read
from damamba.engine.config_checks import ConfigError
from damamba.engine.finite import NotFiniteError
from damamba.engine.saving import DurableCheckpointHook, durable
from tests.tiny_training import SAMPLES, TinyModel, tiny_runner

PATIENCE_S = 60
OF_THE_RUN = {'time', 'eta', 'cfg', 'experiment_name', 'log_scalars'}


class At(Hook):
    """Does something after an iteration, counted from 1, after all other hooks."""

    priority = 'LOWEST'

    def __init__(self, iteration, action):
        self.iteration, self.action, self.done = iteration, action, 0

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.done = runner.iter + 1
        if self.done == self.iteration:
            self.action(runner)


def checkpoint_hook(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))


def names(folder):
    """The files of checkpoints; of published ones without their digests."""
    return sorted(re.sub(r'-[0-9a-f]{8}', '-digest', path.name) for path in Path(folder).glob('*.pth'))


def same(one, other):
    """Whether two checkpoints hold the same, but for when, where and how they were saved."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        keys = {key for key in one if key not in OF_THE_RUN and 'ckpt' not in str(key)}
        other = {key: value for key, value in other.items() if key not in OF_THE_RUN and 'ckpt' not in str(key)}
        return keys == other.keys() and all(same(one[key], other[key]) for key in keys)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


BEST = dict(save_best='score', rule='greater')


@pytest.mark.parametrize(
    'options',
    [
        dict(interval=1),
        dict(interval=2, max_keep_ckpts=2),
        dict(interval=3, by_epoch=False, filename_tmpl='step_{}.pth', max_keep_ckpts=3),
        dict(interval=2, save_begin=3, save_last=False, save_optimizer=False, save_param_scheduler=False),
        dict(interval=1, **BEST, published_keys=['meta', 'state_dict']),
        dict(interval=-1, save_last=False, save_best='auto', rule='greater'),
        dict(interval=2, save_best=['score', 'loss'], rule=['greater', 'less']),
        dict(interval=2, by_epoch=False, **BEST, max_keep_ckpts=4),
    ],
    ids=str,
)
def test_the_same_files_with_the_same_content_as_mmengines_hook_saves(options, tmp_path):
    scores = [0.1, 0.3, 0.2, 0.4, 0.4] if 'save_best' in options else None
    runners = []
    for name, kind in (('ours', DurableCheckpointHook), ('theirs', CheckpointHook)):
        ema = [dict(type='EMAHook')] if options['interval'] == 1 else []
        runners.append(tiny_runner(tmp_path / name, kind, 5, scores, hooks=ema, checkpoint=dict(options)))
        runners[-1].train()
    ours, theirs = tmp_path / 'ours', tmp_path / 'theirs'
    assert names(ours) == names(theirs) and names(ours)
    for path in ours.glob('*.pth'):
        (other,) = theirs.glob(re.sub(r'-[0-9a-f]{8}', '-*', path.name))
        one, two = read(path), read(other)
        if path.name.startswith('best'):  # of several best ones ours know of each other
            one.pop('message_hub', None), two.pop('message_hub', None)
        assert same(one, two), path.name
        if '-' not in path.name:
            CheckpointFolder(ours).verify(path)
    hub = runners[0].message_hub.runtime_info
    for key, theirs_path in runners[1].message_hub.runtime_info.items():
        if 'ckpt' in key and key != 'keep_ckpt_ids':
            assert hub[key] == Path(theirs_path).name
        elif 'best' in key:
            assert hub[key] == theirs_path


def test_a_folder_of_its_own_and_two_are_kept_at_least(tmp_path):
    runner = tiny_runner(tmp_path / 'run', checkpoint=dict(interval=1, max_keep_ckpts=1, out_dir=str(tmp_path / 'out')))
    runner.train()
    root = tmp_path / 'out/run'
    assert names(root) == ['epoch_2.pth', 'epoch_3.pth'] and not names(tmp_path / 'run')
    assert CheckpointFolder(root).newest_whole() == (root / 'epoch_3.pth', [])
    assert not (tmp_path / 'run/last_checkpoint').exists()


# In the background.


class Gate:
    """Holds what is written up until it is told to let go."""

    def __init__(self, monkeypatch):
        self.opened, self.waiting = threading.Event(), threading.Event()
        write = CheckpointFolder.write

        def held(*args, **kwargs):
            self.waiting.set()
            assert self.opened.wait(PATIENCE_S)
            return write(*args, **kwargs)

        monkeypatch.setattr(CheckpointFolder, 'write', held)


def test_training_goes_on_while_a_copy_of_its_state_is_written(tmp_path, monkeypatch):
    gate, states = Gate(monkeypatch), []

    def keep(runner):
        state = (runner.model.state_dict(), runner.optim_wrapper.state_dict()['state'], ema.ema_model.state_dict())
        states.append([{key: value.clone() for key, value in flat(part).items()} for part in state])

    def flat(part):
        return {f'{key}.{name}' if name else key: value for key, it in part.items() for name, value in named(it)}

    def named(it):
        return it.items() if isinstance(it, dict) else [('', it)]

    ema = EMAHook(momentum=0.1)
    opener = At(SAMPLES + 3, lambda runner: (gate.waiting.wait(PATIENCE_S), gate.opened.set()))
    runner = tiny_runner(tmp_path, epochs=2, hooks=[ema, At(SAMPLES, keep), opener], checkpoint=dict(interval=1))
    runner.train()  # which would wait for ever, if it waited for the file
    saved, ((weights, optimizer, average),) = read(tmp_path / 'epoch_1.pth'), states
    assert all(torch.equal(saved['ema_state_dict'][f'module.{name}'], value) for name, value in weights.items())
    assert all(torch.equal(saved['state_dict'][name[7:]], average[name]) for name in average if name != 'steps')
    assert all(torch.equal(flat(saved['optimizer']['state'])[name], value) for name, value in optimizer.items())
    assert len(optimizer) == 4 and not torch.equal(weights['layer.weight'], runner.model.state_dict()['layer.weight'])


def test_a_second_save_and_the_end_of_the_training_wait_for_the_first(tmp_path, monkeypatch):
    gate, seen = Gate(monkeypatch), []
    letting_go = threading.Timer(0.5, lambda: (seen.append(at.done), gate.opened.set()))
    at = At(1, lambda runner: letting_go.start())
    runner = tiny_runner(tmp_path, hooks=[at], checkpoint=dict(interval=1))
    runner.train()
    assert seen == [2 * SAMPLES]  # the third epoch did not begin before
    assert names(tmp_path) == [f'epoch_{epoch}.pth' for epoch in (1, 2, 3)]


def test_workers_that_stay_are_not_forked_while_a_copy_lies_in_memory(tmp_path):
    hook, opened, said = DurableCheckpointHook(), threading.Event(), []
    hook._writer.submit(lambda: (opened.wait(PATIENCE_S), said.append('written')))
    begun = SimpleNamespace(persistent_workers=True, _iterator=object())
    fresh = SimpleNamespace(persistent_workers=True, _iterator=None)
    for loader in (begun, SimpleNamespace(persistent_workers=False, _iterator=None)):
        hook.before_val_epoch(SimpleNamespace(val_loop=SimpleNamespace(dataloader=loader)))
    assert said == []
    threading.Timer(0.2, opened.set).start()
    hook.before_val_epoch(SimpleNamespace(val_loop=SimpleNamespace(dataloader=fresh)))
    assert said == ['written']


def test_the_end_by_an_error_waits_too(small_config, tmp_path, monkeypatch):
    from damamba.cli.common import build_runner
    from damamba.cli.train import configure, parse

    gate = Gate(monkeypatch)

    def fail(runner):
        threading.Timer(0.3, gate.opened.set).start()
        raise RuntimeError('something else')

    args = ['--work-dir', str(tmp_path), '--no-validate', '--cfg-options', 'train_cfg.max_epochs=2']
    runner = build_runner(configure(parse([str(small_config), *args])), ('train', 'val'))
    assert type(checkpoint_hook(runner)) is DurableCheckpointHook
    runner.register_hook(At(5, fail))
    with pytest.raises(RuntimeError, match='something else'):
        runner.train()
    assert CheckpointFolder(tmp_path).newest_whole() == (tmp_path / 'epoch_1.pth', [])


@pytest.mark.parametrize('last', [False, True])
def test_an_error_of_the_writer_ends_the_training_at_the_next_step_or_at_its_end(last, tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/run').write_text('in the way')
    epochs = 1 if last else 50
    at = At(SAMPLES + 1, lambda runner: time.sleep(0.5))
    options = dict(interval=1, out_dir=str(tmp_path / 'out'))
    runner = tiny_runner(tmp_path / 'run', epochs=epochs, hooks=[at], checkpoint=options)
    with pytest.raises(CheckpointError, match=f'{tmp_path}/out/run/epoch_1.pth could not be written'):
        runner.train()
    assert at.done <= SAMPLES + 2


# Only good ones.


def spoil(runner):
    runner.model.layer.weight.data[0, 0] = torch.nan
    runner.model.norm.running_mean[0] = torch.inf


@pytest.mark.parametrize('best', [False, True])
def test_weights_that_are_not_finite_replace_nothing(best, tmp_path):
    options = dict(save_best='score', rule='greater', save_last=False) if best else dict(interval=1, max_keep_ckpts=2)
    model = TinyModel()
    model.register_buffer('far', torch.tensor([torch.inf]))  # it was so from the beginning
    runner = tiny_runner(tmp_path, epochs=4, scores=[0.1, 0.2, 0.3, 0.4], model=model, checkpoint=options)
    before = {}

    def note(runner):
        checkpoint_hook(runner)._writer.wait()
        before.update({path.name: path.read_bytes() for path in tmp_path.glob('*.pth')})
        spoil(runner)

    runner.register_hook(At(3 * SAMPLES, note))
    told = 'norm.running_mean, layer.weight hold values that are not finite'
    expected = rf'after 12 iterations {told}: .*epoch_3.pth is not written'
    with pytest.raises(NotFiniteError, match=expected):
        runner.train()
    assert before and {path.name: path.read_bytes() for path in tmp_path.glob('*.pth')} == before


def test_the_former_best_stays_if_the_new_one_can_not_be_written(tmp_path, monkeypatch):
    write = CheckpointFolder.write

    def fail(self, name, *args, **kwargs):
        if name == 'best_score_epoch_2.pth':
            raise CheckpointError('no space')
        return write(self, name, *args, **kwargs)

    monkeypatch.setattr(CheckpointFolder, 'write', fail)
    runner = tiny_runner(tmp_path, scores=[0.1, 0.2, 0.3], checkpoint=dict(interval=1, **BEST))
    with pytest.raises(CheckpointError, match='no space'):
        runner.train()
    assert {'best_score_epoch_1.pth', 'epoch_1.pth', 'epoch_2.pth'} <= set(names(tmp_path))


@pytest.mark.parametrize('copied', [False, True])
def test_a_best_one_of_another_folder_is_not_deleted_nor_one_of_its_name_here(copied, tmp_path):
    theirs, own = tmp_path / 'a/best_score_epoch_7.pth', tmp_path / 'b/best_score_epoch_7.pth'
    for path in (theirs, own) if copied else (theirs,):
        path.parent.mkdir()
        torch.save({}, path)
    runner = tiny_runner(tmp_path / 'b', epochs=2, scores=[0.5, 0.6], checkpoint=dict(interval=1, **BEST))
    runner.message_hub.update_info('best_ckpt', str(theirs))  # as MMEngine's checkpoints have it
    runner.train()
    assert theirs.is_file() and own.is_file() == copied
    assert set(names(tmp_path / 'b')) - {own.name} == {'best_score_epoch_2.pth', 'epoch_1.pth', 'epoch_2.pth'}


def test_a_validation_is_noted_where_one_came_after_the_save(tmp_path):
    runner = tiny_runner(tmp_path, scores=[0.2, 0.1], checkpoint=dict(interval=1), train_cfg=dict(val_interval=2))
    runner.train()
    entries = CheckpointFolder(tmp_path).entries()
    assert [entries[f'epoch_{epoch}.pth']['validated'] for epoch in (1, 2, 3)] == [False, True, True]


def test_a_validation_alone_saves_nothing(tmp_path):
    tiny_runner(tmp_path, scores=[0.2], checkpoint=dict(interval=1, **BEST)).val()
    assert not names(tmp_path)


# At once.


def test_the_current_step_can_be_saved_at_any_time(tmp_path):
    def save(runner):
        path = checkpoint_hook(runner).save_now(runner)
        assert path == tmp_path / 'iter_6.pth' and CheckpointFolder(tmp_path).newest_whole() == (path, [])
        entry, content = CheckpointFolder(tmp_path).entries()[path.name], read(path)
        assert entry['kind'] == 'interrupted' and (entry['iter'], entry['epoch']) == (6, 1)
        assert (content['meta']['iter'], content['meta']['epoch']) == (6, 1) and content['optimizer']['state']
        assert torch.equal(content['state_dict']['layer.weight'], runner.model.state_dict()['layer.weight'])

    runner = tiny_runner(tmp_path, hooks=[At(6, save)], checkpoint=dict(interval=1, save_optimizer=False))
    runner.train()
    assert names(tmp_path) == ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']  # of which two are newer
    assert CheckpointFolder(tmp_path).newest_whole()[0].name == 'epoch_3.pth'


def test_what_was_saved_at_this_step_is_not_saved_again(tmp_path):
    stamps = []

    def save(runner):
        path = checkpoint_hook(runner).save_now(runner)
        stamps.append((path.name, CheckpointFolder(tmp_path).entries()[path.name]['kind']))

    options = dict(interval=2, by_epoch=False, filename_tmpl='step_{}.pth')
    tiny_runner(tmp_path, epochs=1, hooks=[At(2, save)], checkpoint=options).train()
    assert stamps == [('step_2.pth', 'regular')] and names(tmp_path) == ['step_2.pth', 'step_4.pth']


# Options.


@pytest.mark.parametrize('kind', ['CheckpointHook', 'mmengine.CheckpointHook', CheckpointHook])
def test_it_stands_wherever_a_config_names_mmengines_hook(kind):
    assert durable(dict(type=kind, interval=2, priority=5)) == dict(type=DurableCheckpointHook, interval=2, priority=5)


@pytest.mark.parametrize('other', [dict(type='EMAHook'), dict(type=type('Own', (CheckpointHook,), {})), EMAHook()])
def test_other_hooks_stay_what_they_are(other):
    assert durable(other) is other


@pytest.mark.parametrize(
    ('options', 'told'),
    [
        (dict(backend_args=dict(backend='petrel')), 'local folders alone'),
        (dict(file_client_args=dict(backend='petrel')), 'local folders alone'),
        (dict(out_dir='s3://bucket/runs'), 'out_dir can not be s3://bucket/runs'),
        (dict(filename_tmpl='sub/epoch_{}.pth'), 'must be the name of a file'),
        (dict(filename_tmpl='epoch.pth'), 'must be the name of a file'),
        (dict(intervall=2), 'no option intervall'),
    ],
)
def test_what_can_not_work_is_refused(options, told):
    with pytest.raises(ConfigError, match=told):
        DurableCheckpointHook(**options)
    assert DurableCheckpointHook(backend_args=dict(backend='local')).priority == 'VERY_LOW'
