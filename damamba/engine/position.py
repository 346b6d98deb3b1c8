"""Where in its data a training goes on, and whether that place can be found again."""

from collections.abc import Mapping
from dataclasses import dataclass

from mmengine.runner import BaseLoop, IterBasedTrainLoop

from damamba.checkpoint import CheckpointError
from damamba.engine.replay import pass_at, sampler_of


@dataclass(frozen=True)
class Sampling:
    """How a training takes its samples, which says what its position means."""

    by_epoch: bool | None
    length: int | None  # iterations of a pass over the data
    batch: int | list | None
    processes: int | None
    passes: int | None = None  # completed ones, of a training by iterations
    seed: int | None = None  # of the order

    @classmethod
    def of(cls, runner) -> 'Sampling':
        loop = runner.train_loop
        by_epoch, sampler = not isinstance(loop, IterBasedTrainLoop), sampler_of(loop)
        size = getattr(getattr(loop.dataloader, 'batch_sampler', None), 'batch_size', None)
        passes = sampler.pass_of() if sampler and not by_epoch else None
        seed = getattr(sampler.sampler, 'seed', None) if sampler else None
        return cls(by_epoch, len(loop.dataloader), size, runner.world_size, passes, seed)

    @classmethod
    def in_checkpoint(cls, content: Mapping) -> 'Sampling':
        if 'sampling' in content['meta']:
            return cls(**content['meta']['sampling'])
        hub = content['message_hub']
        info = hub.get('runtime_info', {}) if isinstance(hub, Mapping) else hub.runtime_info
        epochs, iterations = info.get('max_epochs'), info.get('max_iters')  # all that MMEngine says of it
        return cls(None, iterations // epochs if epochs and iterations else None, None, None)

    def is_like(self, other: 'Sampling') -> bool:
        """Whether a position means the same, as far as both are known."""
        pairs = [(self.batch, other.batch), (self.processes, other.processes), (self.by_epoch, other.by_epoch)]
        pairs += [(self.length, other.length)] if self.by_epoch else []
        return all(None in pair or pair[0] == pair[1] for pair in pairs)

    def __str__(self) -> str:
        batch = '' if self.batch is None else f'{self.processes} x {self.batch} pictures, '
        return f'{batch}{self.length} iterations an epoch' if self.by_epoch is not False else f'{batch}no epochs'


@dataclass(frozen=True)
class Position:
    """Where a training goes on."""

    epoch: int
    iter: int
    passes: int  # completed ones over the data
    inside: int  # iterations of the next one that are done


def can_be_found(content: Mapping, processes: int) -> bool:
    """Whether so many processes can go on from a checkpoint, all else being as it was; by iterations not judged."""
    saved, meta = Sampling.in_checkpoint(content), content['meta']
    if saved.processes in (None, processes) or not saved.by_epoch:
        return True
    return meta['iter'] - meta['epoch'] * saved.length in (0, saved.length)


def find_position(content: Mapping, own: Sampling, loop: BaseLoop, source: str) -> Position:
    """Where the checkpoint's position lies in a training with the config's batch, processes and data.

    Raises:
        CheckpointError: it lies in the middle of an epoch that can't be found again.
    """
    epoch, step = content['meta']['epoch'], content['meta']['iter']
    saved, sampler = Sampling.in_checkpoint(content), sampler_of(loop)
    if not own.by_epoch:
        if step and not saved.is_like(own):
            raise CheckpointError(_refusal(source, step, saved, own))
        passes = saved.passes if saved.passes is not None else pass_at(sampler, step) if sampler else 0
        return Position(0, step, passes, step - passes * own.length)
    length = saved.length or (step // epoch if epoch and step % epoch == 0 else own.length)
    inside = step - epoch * length
    if inside == length:  # at an epoch's end, whose hooks are still to come
        inside = own.length
    elif inside < 0 or (inside and not (sampler and saved.is_like(own))) or (step and saved.by_epoch is False):
        raise CheckpointError(_refusal(source, step, saved, own))
    return Position(epoch, epoch * own.length + inside, epoch, inside)


def _refusal(source: str, step: int, saved: Sampling, own: Sampling) -> str:
    differs = f'was trained with {saved}; this run has {own}'
    if not own.by_epoch:
        return (
            f'{source} is of iteration {step}, and {differs}: which data comes next can not be told. Resume with the '
            'same batch and processes'
        )
    return (
        f'{source} is of iteration {step}, in the middle of an epoch, and {differs}: what is left of that epoch can '
        "not be told. Resume with the same batch and processes, or from a checkpoint of an epoch's end"
    )
