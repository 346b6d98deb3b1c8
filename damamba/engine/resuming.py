"""A resume that follows the config, and the run's own folder.

Weights, the state of optimizers, and what hooks have measured are the checkpoint's. The schedule, the rates and all
other settings are the config's, placed at the step that was reached.
"""

import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, EMAHook, Hook
from mmengine.runner import IterBasedTrainLoop

from damamba.checkpoint import CheckpointError, is_url, read
from damamba.checkpoint.folder import EARLIER, INTERRUPTED, REGULAR, CheckpointFolder
from damamba.engine.hooks import bare
from damamba.engine.launch import restarts, resumes_by_itself
from damamba.engine.optimizer_state import describe_optimizers, restore_optimizers, wrappers_of
from damamba.engine.position import Position, Sampling, can_be_found, find_position
from damamba.engine.replay import is_between_updates, sampler_of
from damamba.engine.saving import root_of
from damamba.engine.schedule import place_schedule

AUTO = 'auto'  # of a config's `resume`: from the newest whole checkpoint of the run's own folder, if there is one
RESTARTED = 'restarted'  # in a config: started again by torchrun or Slurm, not by the user
RUNS_OWN = ('cfg', 'seed', 'experiment_name', 'mmengine_version', 'dataset_meta', 'last_ckpt', 'keep_ckpt_ids')
MOST = 2**31  # iterations that a training could make
SETTLED = ('wait_count', 'best_score')  # of an EarlyStoppingHook


def own_folder(runner) -> Path:
    """Where a runner's checkpoints go."""
    return root_of(getattr(_saving(runner), 'out_dir', None), runner.work_dir)


def _saving(runner) -> CheckpointHook | None:
    return next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)


def newest_checkpoint(folder: Path) -> tuple[str | None, list[str]]:
    """The newest whole checkpoint of a folder, or None; and what is to be said of it, and of newer ones.

    Raises:
        CheckpointError: there are some, and all are damaged.
    """
    path, notes = CheckpointFolder(folder).newest_whole()
    if notes and path is None:
        raise CheckpointError(f'no checkpoint in {folder} is whole: {"; ".join(notes)}')
    if path and _is_earlier(path):
        notes.append(
            f'{path} is of an earlier training in this folder: the one after it has saved nothing to go on from'
        )
    return (None if path is None else str(path)), notes


def _is_earlier(path: Path) -> bool:
    return CheckpointFolder(path.parent).entries().get(path.name, {}).get('kind') == EARLIER


def settle_start(runner) -> None:
    """Decide on all processes alike what a training starts from: a checkpoint to resume, ``load_from``, or nothing.

    The main process decides: each machine has a clock, and perhaps a disk, of its own.

    Raises:
        CheckpointError: the checkpoint to resume is not what was written.
    """
    runner._resume, runner._load_from, notes = _asked_of_main(lambda: _start_of(runner))
    for note in notes:
        runner.logger.warning(note)


def _asked_of_main(question: Callable[[], Any]) -> Any:
    """What the main process answers; the others wait for it, also where it is an error."""
    found = [None]
    if is_main_process():
        try:
            found = [(question(), None)]
        except (CheckpointError, OSError) as error:
            found = [(None, str(error))]
    broadcast_object_list(found)
    answer, error = found[0]
    if error:
        raise CheckpointError(error)
    return answer


def _start_of(runner) -> tuple[bool, str | None, list[str]]:
    """Whether to resume, from what, and what is to be said."""
    folder, given = own_folder(runner), runner._load_from
    if runner.cfg.get(RESTARTED) and resumes_by_itself(folder):
        return _start_again(runner, folder)
    if runner._resume == AUTO or (runner._resume and given is None):
        newest, notes = newest_checkpoint(folder)
        return newest is not None, newest or given, notes
    if runner._resume and not is_url(given):
        path = Path(given).expanduser().resolve()
        if path.name in CheckpointFolder(path.parent).entries():
            CheckpointFolder(path.parent).verify(path)
    return runner._resume, given, []


def _start_again(runner, folder: Path) -> tuple[bool, str | None, list[str]]:
    """After a restart that nobody has asked for, perhaps with other processes than before, which must not end it."""

    def fits(path: Path) -> bool:
        return not _is_earlier(path) and can_be_found(read(path), runner.world_size)

    newest, notes = newest_checkpoint(folder)
    notes.insert(0, f'Start {restarts() + 1}: going on from the newest checkpoint of {folder}')
    if newest is None or fits(Path(newest)):
        return newest is not None, newest or runner._load_from, notes
    end, _ = CheckpointFolder(folder).newest_whole(fits)
    instead = (
        f"{end.name}, of an epoch's end, is taken" if end else "there is none of an epoch's end: it starts as at first"
    )
    notes.append(
        f'{newest} is of the middle of an epoch, which {runner.world_size} processes can not go on with: {instead}'
    )
    given = runner._load_from
    return bool(end) or (runner._resume is True and given is not None), str(end) if end else given, notes


def check_training(content: Mapping, source: str) -> None:
    """Refuse what can't be resumed.

    Raises:
        CheckpointError: names what lacks.
    """
    meta = content.get('meta') or {}
    lacking = [key for key in ('optimizer', 'message_hub') if key not in content]
    lacking += [f'{key} in meta' for key in ('epoch', 'iter') if key not in meta]
    if lacking:
        raise CheckpointError(
            f'{source} is no training checkpoint of MMEngine (it lacks {", ".join(lacking)}): nothing to resume; '
            'for a new training from its weights give --cfg-options load_from=PATH, not --resume'
        )
    epoch, step = meta['epoch'], meta['iter']
    are_counts = all(type(it) is int and 0 <= it <= MOST for it in (epoch, step))
    if not are_counts or (step and epoch > step):
        raise CheckpointError(f'{source} says that it is of epoch {epoch!r} and iteration {step!r}, which can not be')


def take_trained_weights(runner, content: Mapping, source: str) -> None:
    """Where averaged weights were saved in the place of the trained ones, and nothing averages them any more."""
    averages = content.get('ema_state_dict')
    if not averages or any(isinstance(hook, EMAHook) for hook in runner.hooks):
        return
    state, prefix = content['state_dict'], 'module.'
    trained = {name.removeprefix(prefix): it for name, it in averages.items() if name.startswith(prefix)}
    state.update({name: it for name, it in trained.items() if name in state})
    runner.logger.warning('%s has averaged weights, and the config no EMAHook: the trained ones are taken', source)


def adopt_seed(runner, content: Mapping) -> None:
    """Let the seed be the checkpoint's where nobody has given one, before the data is built."""
    theirs, own = content['meta'].get('seed'), runner._randomness_cfg.get('seed')
    if theirs is None or theirs == own:
        return
    if own is None:
        runner._randomness_cfg.update(seed=theirs)
        runner.set_randomness(**runner._randomness_cfg)
    else:
        runner.logger.warning(
            'seed: %s is given, %s in the checkpoint: the given one is taken, and a pass over the data that was begun '
            'goes on in another order',
            own,
            theirs,
        )


def resume(runner, content: Mapping, source: str) -> None:
    """Go on from a checkpoint, whose weights the model has already.

    Args:
        runner: its loop, optimizers and schedulers are built from the config.
        content: of the checkpoint, which :func:`check_training` has passed.
        source: its path.

    Raises:
        CheckpointError: it can't be gone on from with this config; the text says what differs.
    """
    saved, own = Sampling.in_checkpoint(content), Sampling.of(runner)
    position = find_position(content, own, runner.train_loop, source)
    _restore_hub(runner, content)
    notes = restore_optimizers(runner.optim_wrapper, bare(runner.model), content, source)
    if runner.param_schedulers is not None:
        most = runner.max_epochs if own.by_epoch else runner.max_iters  # beyond it nothing is left to train
        epochs, inside = (min(position.epoch, most), position.inside) if own.by_epoch else (0, min(position.iter, most))
        notes += place_schedule(runner, runner.unscheduled, content, epochs, inside)
    if position.iter != content['meta']['iter']:
        was = content['meta']['iter']
        notes.append(f'iteration {was} becomes {position.iter}: trained with {saved}, goes on with {own}')
    _place(runner, position, saved)
    _restore_gradients(runner, content)
    _restore_stopping(runner, content)
    notes += _lost_gradients(runner, content)
    for note in [*notes, *_other_data(runner, content), *_nothing_left(runner, own, source)]:
        runner.logger.warning(note)
    runner.logger.info('resumed epoch: %d, iter: %d', position.epoch, position.iter)


def _place(runner, position: Position, saved: Sampling) -> None:
    loop, sampler = runner.train_loop, sampler_of(runner.train_loop)
    loop._epoch, loop._iter = position.epoch, position.iter
    if isinstance(loop, IterBasedTrainLoop):
        loop.dataloader_iterator._epoch = position.passes
    if sampler:
        sampler.start = (position.passes, position.inside)
        if runner._randomness_cfg.get('diff_rank_seed') and saved.seed is not None:
            sampler.sampler.seed = saved.seed  # the order has one of its own there, drawn anew by every run


def _nothing_left(runner, own: Sampling, source: str) -> list[str]:
    if own.by_epoch:
        done, end, unit = runner.epoch, runner.max_epochs, 'epochs'
    else:
        done, end, unit = runner.iter, runner.max_iters, 'iterations'
    return [f'{source} has {done} of {end} {unit}: nothing is left to train'] if done >= end else []


def _restore_hub(runner, content: Mapping) -> None:
    """Logs' histories and what hooks keep there; but what names the run is its own, and files lie in its folder."""
    hub, info = runner.message_hub, runner.message_hub.runtime_info
    kept = {key: info[key] for key in RUNS_OWN if key in info}
    hub.load_state_dict(content['message_hub'])
    for key in RUNS_OWN:
        info.pop(key, None)
    info.update(kept)
    folder = own_folder(runner)
    for key in [key for key in info if key.startswith('best_ckpt')]:
        if info[key] is None:
            continue  # saved before the first one
        name = os.path.basename(str(info[key]))
        if CheckpointFolder(folder).has(name):
            hub.update_info(key, str(folder / name))
            continue
        runner.logger.warning('%s is not in %s: the best checkpoint is looked for anew', name, folder)
        info.pop(key)
        info.pop(key.replace('best_ckpt', 'best_score', 1), None)


def _other_data(runner, content: Mapping) -> list[str]:
    saved = content['meta'].get('dataset_meta')
    own = getattr(runner.train_dataloader.dataset, 'metainfo', None)
    if saved is None or pickle.dumps(saved) == pickle.dumps(own):  # they may hold arrays
        return []
    return ['the data set has other classes, or another palette, than the checkpoint was trained with']


def _restore_gradients(runner, content: Mapping) -> None:
    """Those that were accumulated, and that no step of the optimizer had used."""
    for name, parameter in bare(runner.model).named_parameters():
        if name in content.get('gradients', {}):
            parameter.grad = content['gradients'][name].to(parameter)


def _lost_gradients(runner, content: Mapping) -> list[str]:
    counts = [getattr(it, '_accumulative_counts', 1) for it in wrappers_of(runner.optim_wrapper).values()]
    lost = max(runner.iter % count for count in counts)
    if not lost or 'gradients' in content:
        return []
    return [f'the gradients of {lost} iterations, which were accumulated for the next update, are lost']


def _stopping_hooks(runner) -> list[EarlyStoppingHook]:
    return [hook for hook in runner.hooks if isinstance(hook, EarlyStoppingHook)]


def _restore_stopping(runner, content: Mapping) -> None:
    saved = content['meta'].get('early_stopping') or ()
    for hook, state in zip(_stopping_hooks(runner), saved, strict=False):
        vars(hook).update({key: state[key] for key in SETTLED})


class ResumeHook(Hook):
    """Put into checkpoints what a resume needs beside MMEngine's own; make up for a validation that was still due."""

    priority = 'VERY_LOW'  # when a training begins all else is in its place

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        if 'optimizer' not in checkpoint:
            return  # a best one, of weights alone
        model = bare(runner.model)
        stopping = [{key: getattr(hook, key) for key in SETTLED} for hook in _stopping_hooks(runner)]
        checkpoint['meta'].update(
            sampling=asdict(Sampling.of(runner)),
            optimizers=describe_optimizers(runner.optim_wrapper, model),
            early_stopping=stopping,
        )
        if is_between_updates(runner) and runner.world_size == 1:  # of several each has its own
            gradients = {name: it.grad for name, it in model.named_parameters() if it.grad is not None}
            checkpoint['gradients'] = {name: it.detach().cpu().clone() for name, it in gradients.items()}

    def before_train(self, runner) -> None:
        if not runner._resume:
            return
        path, hook = Path(runner._load_from).absolute(), _saving(runner)
        if hook and path.parent == own_folder(runner).absolute():
            hook.last_ckpt = path.name  # which is written again if its validation is the best one
        if _is_validation_due(runner, path):
            runner.logger.info('The validation after %s was still due', path)
            runner.val_loop.run()
            folder = getattr(hook, 'folder', None)  # it is written to in the background, with one lock
            if folder and is_main_process() and folder.root.absolute() == path.parent:
                folder.mark_validated(path.name)


def _is_validation_due(runner, path: Path) -> bool:
    """Whether the training was interrupted between this checkpoint and the validation that comes after it."""
    loop, entry = runner.train_loop, CheckpointFolder(path.parent).entries().get(path.name)
    if runner.val_loop is None or not entry or entry['validated'] or entry['kind'] not in (REGULAR, INTERRUPTED):
        return False  # MMEngine's own checkpoints have no such entry
    by_epoch = not isinstance(loop, IterBasedTrainLoop)
    if by_epoch and sampler_of(loop) and sampler_of(loop).start[1]:
        return False  # in the middle of an epoch
    done, end = (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)
    loop._decide_current_val_interval()
    return loop.val_begin <= done and (done % loop.val_interval == 0 or done == end)
