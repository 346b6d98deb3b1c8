"""Numbers that are not finite: a step that would learn from them is left out; many in a row end the training."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial, update_wrapper
from types import SimpleNamespace
from typing import NamedTuple

import torch
import torch.distributed as dist
from mmengine.dist import all_reduce, get_world_size, is_distributed
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from damamba.engine.config_checks import ConfigError
from damamba.engine.hooks import bare

MAX_SKIPPED_STEPS = 10
LEAST_SCALE = 1.0  # of a loss: what overflows even so is not finite by itself
SHOWN = 8  # files that a message names


class NotFiniteError(RuntimeError):
    """Losses, gradients or weights of a training are not finite, and it can't go on."""


class SkipNonFiniteHook(Hook):
    """Leave out each update whose loss or gradient is not finite, on all processes together.

    Weights, the optimizer's state and running statistics stay as they were before the step; the schedule goes on. In
    float16 the loss scaler deals with gradients that overflow as long as it has a smaller scale to try.

    Args:
        limit: so many left out in a row end the training.

    Raises:
        ConfigError: the limit is no number of steps.
        NotFiniteError: the limit is reached. It names the iteration, the images, and the first module whose output was
            not finite.
    """

    priority = 'VERY_HIGH'  # statistics are put back before they are averaged over the processes, and before EMA

    def __init__(self, limit: int = MAX_SKIPPED_STEPS) -> None:
        if not isinstance(limit, int) or limit < 1:
            raise ConfigError(f'max_skipped_steps={limit!r} must be a number of steps, 1 or more')
        self.limit = limit
        self.skipped = self.in_a_row = 0

    def before_train(self, runner) -> None:
        wrapper = runner.optim_wrapper
        wrappers = list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        self._guards = [_Guard(it) for it in wrappers]
        norms = [m for m in bare(runner.model).modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
        self._statistics = [value for norm in norms for value in norm.buffers(recurse=False)]
        self._before = [value.clone() for value in self._statistics]
        self._forwards: list[_Forward] = []  # of what the next update learns from

    def before_train_iter(self, runner, batch_idx: int, data_batch: dict | None = None) -> None:
        if not self._forwards:  # an update begins
            _copy(self._statistics, self._before)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        self._forwards.append(_Forward(data_batch, outputs or {}))
        found = [guard.take() for guard in self._guards]
        if any(update.skipped for update in found):
            self._leave_out(runner, any(update.own for update in found))
        elif any(update.overflowed for update in found):
            self.skipped += 1  # by the loss scaler
        elif any(update.done for update in found):
            self.in_a_row = 0
        else:
            return  # more is accumulated
        self._forwards.clear()

    def _leave_out(self, runner, own: bool) -> None:
        _copy(self._before, self._statistics)
        self.skipped += 1
        self.in_a_row += 1
        bad = [it for it in self._forwards if it.not_finite]
        text = self._describe(runner, bad, own)
        if self.in_a_row >= self.limit:
            raise NotFiniteError(self._last_words(runner, text, (bad or self._forwards)[0]))
        runner.logger.warning('%s; this step is left out (%d in a row)', text, self.in_a_row)

    def _describe(self, runner, bad: list['_Forward'], own: bool) -> str:
        """What was not finite and where it came from, of all processes, in one text on each."""
        names = [file for it in bad or self._forwards for file in files_of(it.batch)]
        losses = dict.fromkeys(name for it in bad for name in it.not_finite)
        rank = f'process {runner.rank}: ' if get_world_size() > 1 else ''
        shown = ', '.join(names[:SHOWN]) + (f' and {len(names) - SHOWN} more' if len(names) > SHOWN else '')
        what = f'{rank}not finite: {", ".join(losses) or "a gradient"} (images: {shown})'
        return f'iteration {runner.iter + 1}: {"; ".join(_gather(what if own or bad else None))}'

    def _last_words(self, runner, text: str, forward: '_Forward') -> str:
        """The forward is repeated on every process, since normalisation may speak with the others."""
        module = first_not_finite(runner.model, forward.batch, runner.optim_wrapper)
        return (
            f'{text}; {self.in_a_row} steps in a row were left out: training ends. First module whose output is not '
            f'finite: {" / ".join(_gather(module)) or "none, the gradients alone are not"}. '
            'A lower learning rate, a longer warm-up or clip_grad may help; the last good checkpoint is untouched'
        )


class _Forward(NamedTuple):
    """A batch and its losses."""

    batch: object
    losses: Mapping[str, Tensor]

    @property
    def not_finite(self) -> list[str]:
        return [name for name, value in self.losses.items() if 'loss' in name and not value.isfinite().all()]


@dataclass
class _Update:
    """What became of the updates of one iteration; nothing, while gradients are accumulated."""

    done: bool = False
    skipped: bool = False
    overflowed: bool = False  # left out by the loss scaler, which then takes a smaller scale
    own: bool = False  # because of this process


class _Guard:
    """Looks at an optimizer wrapper's losses and gradients before it steps."""

    def __init__(self, wrapper: OptimWrapper) -> None:
        self.wrapper, self.update = wrapper, _Update()
        self.unguarded = SimpleNamespace(backward=wrapper.backward, step=wrapper.step)
        self._bad: Tensor | None = None  # whether a loss since the last update was not finite, on the device
        wrapper.backward = self.backward
        wrapper.step = update_wrapper(partial(self.step), wrapper.step)  # schedulers look for what they put on it

    def take(self) -> _Update:
        """What happened since it was asked last."""
        update, self.update = self.update, _Update()
        return update

    def backward(self, loss: Tensor, **kwargs) -> None:
        bad = ~loss.detach().isfinite().all()
        self._bad = bad if self._bad is None else self._bad | bad
        self.unguarded.backward(loss, **kwargs)

    def step(self, **kwargs) -> None:
        bad, self._bad = self._bad, None
        gradients = list(self._gradients())
        largest = _size(gradients) if gradients else torch.zeros(())
        own = torch.stack(
            [(torch.tensor(False) if bad is None else bad).to(largest.device), ~largest.isfinite()]
        ).float()
        everyone = own.clone()
        all_reduce(everyone, 'max')
        bad_loss, bad_gradient = everyone.bool().tolist()
        update = self.update
        update.done = not (bad_loss or bad_gradient)
        update.overflowed = bad_gradient and not bad_loss and self._is_scaled()
        update.skipped = not (update.done or update.overflowed)
        update.own = update.skipped and bool(own.any())
        if not update.skipped:
            self.unguarded.step(**kwargs)

    def _gradients(self) -> Iterator[Tensor]:
        for group in self.wrapper.optimizer.param_groups:
            yield from (it.grad for it in group['params'] if it.grad is not None)

    def _is_scaled(self) -> bool:
        """Whether a scaler has a smaller scale to try, as it does in float16's first steps."""
        scaler = getattr(self.wrapper, 'loss_scaler', None)
        return scaler is not None and scaler.is_enabled() and scaler.get_scale() > LEAST_SCALE


def _size(gradients: list[Tensor]) -> Tensor:
    """A number that is finite if all of them are. The sum of squares is the quicker one; in half types it overflows."""
    is_half = any(it.dtype in (torch.float16, torch.bfloat16) for it in gradients)
    return nn.utils.get_total_norm(gradients, norm_type=math.inf if is_half else 2.0)


def files_of(batch: Mapping | None) -> list[str]:
    """The image files of a batch of MMDetection's, as far as it says."""
    samples = batch.get('data_samples', ()) if isinstance(batch, Mapping) else ()
    return [str(getattr(sample, 'img_path', 'one without a name')) for sample in samples] or ['not known']


def first_not_finite(model: nn.Module, batch, wrapper: OptimWrapper) -> str | None:
    """Repeat a training's forward, gradients aside: the first module with an output that is not finite, if any."""
    module, found = bare(model), []
    hooks = [child.register_forward_hook(_recorder(name, found)) for name, child in module.named_modules() if name]
    try:
        with torch.no_grad(), wrapper.optim_context(module):
            module(**module.data_preprocessor(batch, True), mode='loss')
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:  # it fails on the numbers themselves
        found.append(f'unknown, since the forward ends with {type(error).__name__}: {error}')
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def _recorder(name: str, found: list[str]) -> Callable:
    def record(module: nn.Module, inputs, output) -> None:
        if not found and not all(bool(it.isfinite().all()) for it in _tensors(output)):
            found.append(f'{name} ({type(module).__name__})')

    return record


def _tensors(output) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from _tensors(value)
    elif isinstance(output, list | tuple):
        for value in output:
            yield from _tensors(value)


def _copy(sources: list[Tensor], targets: list[Tensor]) -> None:
    if sources:
        torch._foreach_copy_(targets, sources)  # one launch on a GPU


def _gather(text: str | None) -> list[str]:
    """The texts of all processes, in their order, once each."""
    texts = [text]
    if is_distributed():
        texts = [None] * get_world_size()
        dist.all_gather_object(texts, text)
    return list(dict.fromkeys(it for it in texts if it))
