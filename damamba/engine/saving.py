"""Saving checkpoints while training goes on: MMEngine's hook with its options, but no save can break what is there."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.dist import is_main_process, master_only
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.registry import HOOKS
from torch import Tensor, nn

from damamba.checkpoint import CheckpointFolder, read
from damamba.checkpoint.folder import BEST, INTERRUPTED, REGULAR
from damamba.checkpoint.publishing import write_named_by_hash
from damamba.engine.background import Writer, content_of
from damamba.engine.config_checks import ConfigError
from damamba.engine.finite import NotFiniteError
from damamba.engine.hooks import bare
from damamba.types import class_of

LOCAL = (None, 'local', 'disk')  # backends of files, as MMEngine calls them
SHOWN = 3  # names that an error lists


def durable(hook: Any) -> Any:
    """The config of a hook, ours in the place of MMEngine's ``CheckpointHook``."""
    is_mmengines = isinstance(hook, dict) and class_of(hook, HOOKS) is CheckpointHook
    return {**hook, 'type': DurableCheckpointHook} if is_mmengines else hook


def root_of(out_dir: str | Path | None, work_dir: str | Path) -> Path:
    """The folder of a run's checkpoints: its work folder, or one of that name in ``out_dir``."""
    return Path(work_dir) if out_dir in (None, work_dir) else Path(out_dir, Path(work_dir).name)


class DurableCheckpointHook(CheckpointHook):
    """MMEngine's :class:`CheckpointHook`, with its options, for local folders.

    Each file is written beside, flushed, renamed, entered into a manifest, and then pointed at
    (:class:`~damamba.checkpoint.CheckpointFolder`), in the background: training waits for the copy to memory alone.
    ``max_keep_ckpts`` keeps two at least. Names in the message hub and in ``last_checkpoint`` are bare.

    Raises:
        ConfigError: an option that is unknown, or for other places than local folders.
        CheckpointError: a checkpoint could not be written; at the next step, or when the training ends.
        NotFiniteError: weights are not finite.
    """

    folder: CheckpointFolder | None = None  # once a training begins

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self._writer = Writer()
        self._step = None  # iterations that the last regular or interrupted checkpoint has finished
        if self.args:
            raise ConfigError(f'CheckpointHook has no option {", ".join(self.args)}')
        for backend in (self.backend_args, self.file_client_args):
            if (backend or {}).get('backend') not in LOCAL:
                raise ConfigError(f'CheckpointHook writes to local folders alone, not by {backend}: out_dir=FOLDER')
        if '://' in str(self.out_dir or ''):
            raise ConfigError(f'CheckpointHook writes to local folders alone: out_dir can not be {self.out_dir}')
        if self.filename_tmpl.count('{}') != 1 or Path(self.filename_tmpl).name != self.filename_tmpl:
            raise ConfigError(f'filename_tmpl={self.filename_tmpl!r} must be the name of a file with one {{}} in it')

    def before_train(self, runner) -> None:
        self.folder = CheckpointFolder(root_of(self.out_dir, runner.work_dir))
        self._watched = {name for name, good in _finite(runner).items() if good}
        runner.logger.info('Checkpoints will be saved to %s.', self.folder.root)
        for key in self._keys_of_best('best_ckpt'):
            runner.message_hub.update_info(key, self._own_best(runner.message_hub.runtime_info.get(key)))
        self._tidy(runner)

    @master_only
    def _tidy(self, runner) -> None:
        """Clear what killed saves have left; what lies here is of an earlier training, unless this one goes on."""
        resumed = Path(runner._load_from or self.folder.root / 'newest').resolve()
        try:
            self.folder.clear_leftovers()
            if not runner.iter or resumed.parent != self.folder.root.resolve():
                self.folder.set_aside()
            else:
                self.folder.go_on_from(resumed.name, runner.iter, runner.epoch)
        except OSError as error:  # no reason not to train
            runner.logger.warning('Leftovers in %s stay: %s', self.folder.root, error)

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self._writer.raise_error()

    def before_val_epoch(self, runner) -> None:
        loader = runner.val_loop.dataloader
        if getattr(loader, 'persistent_workers', False) and getattr(loader, '_iterator', None) is None:
            self._writer.wait()  # else workers that are forked now keep the copy for as long as they live

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        if self.folder is None:  # a validation alone
            return
        super().after_val_epoch(runner, metrics or {})
        if self._step == runner.iter and is_main_process():  # one that was written again is marked already
            self._writer.submit(partial(self.folder.mark_validated, self.last_ckpt))

    def after_train(self, runner) -> None:
        self._writer.wait()
        names = [self.last_ckpt] if self.save_last else []
        names += [runner.message_hub.runtime_info.get(key) for key in self._keys_of_best('best_ckpt')]
        for name in dict.fromkeys(filter(None, names)) if self.published_keys is not None else ():
            self._publish_model(runner, name)

    def after_run(self, runner) -> None:
        self._writer.wait()

    def close(self, runner, error: BaseException) -> None:
        """Wait for the disk when a training ends by an error; of a full disk the writer says more than others do."""
        own = self._writer.error()
        if own and isinstance(error, OSError):
            raise own from error
        if own:
            runner.logger.error('%s', own)

    def save_now(self, runner, step: int | None = None) -> Path:
        """Save the current step, as ``iter_N.pth`` after N iterations, and wait for the disk.

        To be called by all processes: after a training iteration, or elsewhere with the number of finished ones.
        """
        step = runner.iter + 1 if step is None else step
        if self._step != step or not (self.save_optimizer and self.save_param_scheduler):
            self._save(runner, f'iter_{step}.pth', dict(epoch=runner.epoch, iter=step), INTERRUPTED)
        self._writer.wait()
        return self.folder.root / self.last_ckpt

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        self._save(runner, self.filename_tmpl.format(step), meta, REGULAR)

    def _save(self, runner, name: str, meta: dict, kind: str, best: Callable[[dict], None] | None = None) -> None:
        """Copy everything to memory, and have it written; before it, what ``best`` writes."""
        self._writer.wait()  # so that there are never two copies
        self._refuse_not_finite(runner, name, meta['iter'])
        self.last_ckpt, self._step = name, meta['iter']
        runner.message_hub.update_info('last_ckpt', name)
        needs_all = kind == INTERRUPTED
        content = content_of(
            runner,
            meta,
            save_optimizer=self.save_optimizer or needs_all,
            save_param_scheduler=self.save_param_scheduler or needs_all,
        )
        if content is not None:
            self._writer.submit(partial(self._write, name, content, kind, best))

    def _write(self, name: str, content: dict, kind: str, best: Callable[[dict], None] | None) -> None:
        if best:
            best(content)
        meta = content['meta']
        self.folder.write(name, content, step=meta['iter'], epoch=meta['epoch'], kind=kind, validated=best is not None)
        self.folder.prune(self.max_keep_ckpts)

    # The best.

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
        if not self.save_best:
            return
        if 'auto' in self.key_indicators:
            self._init_rule(self.rules, [next(iter(metrics))])
        rules = dict(zip(self.key_indicators, self.rules, strict=True))
        better = [key for key in rules if self._is_better(runner, key, rules[key], metrics)]
        if not better:
            return
        self._writer.wait()
        count = runner.epoch if self.by_epoch else runner.iter
        regular = self.filename_tmpl.format(count)
        self._refuse_not_finite(runner, regular, runner.iter)
        changes = {key: self._note_best(runner, key, metrics[key], regular) for key in better}
        meta, write = dict(epoch=runner.epoch, iter=runner.iter), partial(self._write_best, changes)
        if self.last_ckpt is not None:  # so that a resume knows of the best one
            self._save(runner, regular, meta, REGULAR, write)
        else:
            content = content_of(runner, meta, save_optimizer=False, save_param_scheduler=False)
            if content is not None:
                self._writer.submit(partial(write, content))

    def _is_better(self, runner, key: str, rule: str, metrics: dict) -> bool:
        best = runner.message_hub.runtime_info.get(self._in_hub('best_score', key), self.init_value_map[rule])
        return metrics[key] is not None and self.is_better_than[key](metrics[key], best)

    def _note_best(self, runner, key: str, score: float, regular: str) -> tuple[str | None, str]:
        """Put a best checkpoint to be written into the message hub; the names of the former one and of this one."""
        hub, name = runner.message_hub, f'best_{key}_{regular}'.replace('/', '_')
        former = hub.runtime_info.get(self._in_hub('best_ckpt', key))
        hub.update_info(self._in_hub('best_score', key), score)
        hub.update_info(self._in_hub('best_ckpt', key), name)
        runner.logger.info('The best checkpoint so far, with %.4f %s, is saved as %s.', score, key, name)
        return former, name

    def _write_best(self, changes: dict[str, tuple[str | None, str]], content: dict) -> None:
        """Write the best ones, weights without the optimizer's state, and only then delete the former ones."""
        content = {key: it for key, it in content.items() if key not in ('optimizer', 'param_schedulers')}
        for former, name in changes.values():
            meta = content['meta']
            self.folder.write(name, content, step=meta['iter'], epoch=meta['epoch'], kind=BEST)
            if former and former != name:
                self.folder.remove(former)

    def _own_best(self, path: str | None) -> str | None:
        """The bare name of a best checkpoint if this run's folder has it: no other is ever deleted."""
        name = Path(path or '').name
        is_listed = self.folder.entries().get(name, {}).get('kind') == BEST
        is_here = Path(path or '').parent.resolve() == self.folder.root.resolve()
        return name if self.folder.has(name) and (is_listed or is_here) else None

    def _in_hub(self, what: str, key: str) -> str:
        return what if len(self.key_indicators) == 1 else f'{what}_{key}'

    def _keys_of_best(self, what: str) -> list[str]:
        return [self._in_hub(what, key) for key in self.key_indicators] if self.save_best else []

    # What is written.

    def _refuse_not_finite(self, runner, name: str, step: int) -> None:
        """All processes look, so that all of them stop."""
        found = _finite(runner)
        broken = torch.tensor([name in self._watched and not good for name, good in found.items()], dtype=torch.int32)
        if runner.world_size > 1:
            device = next(runner.model.parameters()).device
            broken = broken.to(device)
            dist.all_reduce(broken, dist.ReduceOp.MAX)
        names = [it for it, is_broken in zip(found, broken.tolist(), strict=True) if is_broken]
        if names:
            more = f' and {len(names) - SHOWN} more tensors' if len(names) > SHOWN else ''
            raise NotFiniteError(
                f'after {step} iterations {", ".join(names[:SHOWN])}{more} hold values that are not finite: '
                f'{self.folder.root / name} is not written, and what was saved before stays'
            )

    @master_only
    def _publish_model(self, runner, ckpt_path: str) -> None:
        path = self.folder.root / ckpt_path
        content = read(path)
        left = [key for key in content if key not in self.published_keys]
        final = write_named_by_hash({key: content[key] for key in content if key not in left}, path)
        runner.logger.info('%s is published as %s, without %s', path, final, ', '.join(left) or 'leaving anything out')


def _tensors(runner) -> Iterator[tuple[str, Tensor]]:
    """The weights and statistics of the model, and their averages, by their names."""
    averages = (('average.', hook.ema_model) for hook in runner.hooks if isinstance(hook, EMAHook))
    models: list[tuple[str, nn.Module]] = [('', bare(runner.model)), *averages]
    for prefix, model in models:
        for name, value in model.state_dict().items():
            if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex()):
                yield prefix + name, value


def _finite(runner) -> dict[str, bool]:
    """Whether all values of a tensor are finite, by names; the device is waited for once."""
    tensors = dict(_tensors(runner))
    device = next(runner.model.parameters()).device
    with torch.no_grad():
        flags = [value.isfinite().all().to(device, non_blocking=True) for value in tensors.values()]
    return dict(zip(tensors, torch.stack(flags).tolist() if flags else (), strict=True))
