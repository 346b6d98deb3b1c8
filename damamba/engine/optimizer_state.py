"""What an optimizer goes on with after a resume: its state from the checkpoint, its settings from the config."""

from collections.abc import Mapping, Sequence

from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn
from torch.optim import Optimizer

from damamba.checkpoint import CheckpointError

# Settings that choose a way to compute the same, and what a version of torch adds of its own.
WAYS = {'foreach', 'maximize', 'capturable', 'differentiable', 'fused', 'decoupled_weight_decay'}
WAYS |= {'params', 'param_names'}
INITIAL = 'initial_'  # in front of a setting that is scheduled, what it is without its schedule


def wrappers_of(optim_wrapper: OptimWrapper) -> dict[str, OptimWrapper]:
    """All of them by their names; the only one has the name ''."""
    return dict(optim_wrapper.items()) if isinstance(optim_wrapper, OptimWrapperDict) else {'': optim_wrapper}


def parameter_names(optimizer: Optimizer, model: nn.Module) -> list[str]:
    """The names of an optimizer's parameters, in its order, which is that of the state that it saves."""
    names = {id(value): name for name, value in model.named_parameters()}
    values = [value for group in optimizer.param_groups for value in group['params']]
    return [names.get(id(value), f'#{number}') for number, value in enumerate(values)]


def describe_optimizers(optim_wrapper: OptimWrapper, model: nn.Module) -> dict[str, dict]:
    """What a checkpoint says of its optimizers, by the wrappers' names: their types, and their parameters' names."""
    found = wrappers_of(optim_wrapper).items()
    return {
        name: dict(type=type(it.optimizer).__name__, parameters=parameter_names(it.optimizer, model))
        for name, it in found
    }


def restore_optimizers(optim_wrapper: OptimWrapper, model: nn.Module, content: Mapping, source: str) -> list[str]:
    """Give optimizers and loss scalers the state that a checkpoint has of them; the settings stay the config's.

    Args:
        optim_wrapper: as built from the config.
        model: that of the run, out of its wrapper.
        content: of the checkpoint. Where its meta names the ``optimizers`` (:func:`describe_optimizers`), state finds
            its parameter by name, however they are grouped; else by the order.
        source: the checkpoint's name, for messages.

    Returns:
        What the user should be told: the settings that differ from the checkpoint's.

    Raises:
        CheckpointError: the state is of another optimizer, or does not fit the parameters.
    """
    told, saved, notes = content['meta'].get('optimizers') or {}, content['optimizer'], []
    wrappers = wrappers_of(optim_wrapper)
    if list(wrappers) != [''] and set(wrappers) - set(saved):
        raise CheckpointError(f'{source} has no optimizer {", ".join(set(wrappers) - set(saved))}; {_instead(source)}')
    for name, wrapper in wrappers.items():
        state = saved[name] if name else saved
        if not isinstance(state, Mapping) or not {'state', 'param_groups'} <= state.keys():
            raise CheckpointError(f'{source} holds several optimizers, and the config has one; {_instead(source)}')
        notes += _restore(wrapper, model, state, told.get(name) or {}, source)
    return notes


def _instead(source: str) -> str:
    return f'a new training from its weights: --cfg-options load_from={source}, without --resume'


def _restore(wrapper: OptimWrapper, model: nn.Module, saved: Mapping, told: Mapping, source: str) -> list[str]:
    optimizer = wrapper.optimizer
    _refuse_another(optimizer, saved, told, source)
    own = parameter_names(optimizer, model)
    groups = [group for group in saved['param_groups'] for _ in group['params']]  # of each parameter in turn
    numbers = [number for group in saved['param_groups'] for number in group['params']]
    names = told.get('parameters') or own
    if len(names) != len(numbers) or (names is own and not _fits(optimizer, saved['state'], numbers)):
        raise CheckpointError(
            f'{source} has the state of {len(numbers)} parameters without their names, which does not fit the '
            f'{len(own)} that the config has the optimizer train, in its order; {_instead(source)}'
        )
    place = dict(zip(names, range(len(names)), strict=True))
    state = {i: saved['state'].get(numbers[place[it]]) for i, it in enumerate(own) if it in place}
    state = {i: it for i, it in state.items() if it}  # parameters that are not trained have none
    optimizer.load_state_dict({**optimizer.state_dict(), 'state': state})
    _restore_scaler(wrapper, saved)
    new = [name for name in own if name not in place]
    ours = [group for group in optimizer.param_groups for _ in group['params']]
    notes = _differences([(ours[i], groups[place[it]]) for i, it in enumerate(own) if it in place])
    if new:
        notes.append(f'{len(new)} parameters, such as {new[0]}, had no optimizer before: they begin without state')
    return notes


def _refuse_another(optimizer: Optimizer, saved: Mapping, told: Mapping, source: str) -> None:
    """By its type, or where the checkpoint does not say it, by the settings that the optimizer needs."""
    kind, has = type(optimizer).__name__, saved['param_groups'][0].keys()
    lacking = optimizer.defaults.keys() - WAYS - has
    if told.get('type', kind) != kind or lacking:
        theirs = told.get('type') or f'another optimizer, without {", ".join(sorted(lacking))}'
        raise CheckpointError(f'{source} has the state of {theirs}, and the config has {kind}; {_instead(source)}')


def _fits(optimizer: Optimizer, state: Mapping, numbers: Sequence[int]) -> bool:
    """Whether tensors of a state are as large as the parameters in the same order."""
    parameters = [value for group in optimizer.param_groups for value in group['params']]
    return len(parameters) == len(numbers) and all(
        part.shape == parameter.shape
        for parameter, number in zip(parameters, numbers, strict=True)
        for part in state.get(number, {}).values()
        if isinstance(part, Tensor) and part.dim() == parameter.dim()
    )


def _restore_scaler(wrapper: OptimWrapper, saved: Mapping) -> None:
    """The loss scale that was found in training; a fixed one is the config's, and without float16 there is none."""
    scaler, state = getattr(wrapper, 'loss_scaler', None), saved.get('loss_scaler')
    if scaler is not None and scaler.is_enabled() and state and wrapper._scale_update_param is None:
        scaler.load_state_dict(state)


def _differences(pairs: Sequence[tuple[Mapping, Mapping]]) -> list[str]:
    """A line for each setting that is another one in the checkpoint; of a scheduled one what it is scheduled from."""
    found: dict[str, list[tuple]] = {}
    for own, saved in pairs:
        for key in own.keys() & saved.keys() - WAYS:
            values = _setting(own, key), _setting(saved, key)
            if not key.startswith(INITIAL) and values[0] != values[1] and values not in found.setdefault(key, []):
                found[key].append(values)
    return [_difference(key, values) for key, values in sorted(found.items()) if values]


def _setting(group: Mapping, key: str) -> object:
    value = group.get(INITIAL + key, group[key])
    return tuple(value) if isinstance(value, list) else value


def _difference(key: str, values: list[tuple]) -> str:
    (config, checkpoint), more = values[0], len(values) - 1
    others = f' (and {more} more such pairs)' if more else ''
    return f"{key}: {config} in the config, {checkpoint} in the checkpoint{others}: the config's is taken"
