"""A config for converted weights: whether it computes what their source computes, and what it lacks for that."""

from collections.abc import Sequence

from damamba.checkpoint import CheckpointError
from damamba.checkpoint.conversion import Converted, Setting
from damamba.checkpoint.conversion.mask2former import described as mask2former
from damamba.checkpoint.conversion.torchvision import described as mask_rcnn
from damamba.types import name_of

GUIDE = 'docs/bring_your_model.md'
TORCHVISION = {  # what computes as torchvision does, in a config's model
    'data_preprocessor': 'TorchvisionPreprocessor',
    'rpn_head': 'TorchvisionRPNHead',
    'roi_head.bbox_head': 'TorchvisionBBoxHead',
    'roi_head.mask_head': 'TorchvisionMaskHead',
}


def check_torchvision(model: dict, config: str) -> None:
    """Refuse what does not compute what torchvision computes; CheckpointError."""
    for key, kind in TORCHVISION.items():
        if name_of(value_of(model, key, {})) != kind:
            raise CheckpointError(
                f'{config} does not compute what torchvision does (its model.{key} is no {kind}): {GUIDE} names the '
                'configs that do'
            )


def check_model(model: dict, config: str, converted: Converted) -> None:
    """Refuse a config's model that is not the one that was converted; CheckpointError."""
    if converted.source == 'torchvision':
        check_torchvision(model, config)
        kind = mask_rcnn(2 if value_of(model, 'rpn_head.num_convs', 1) == 2 else 1)
    else:
        kind = mask2former(value_of(model, 'backbone', {})) if name_of(model) == 'Mask2Former' else name_of(model)
    if not converted.variant.startswith(kind):
        raise CheckpointError(f"these are weights of {converted.owner}'s {converted.variant}, {config} is for {kind}")


def settle(model: dict, settings: Sequence[Setting]) -> tuple[dict[str, object], list[str]]:
    """Set in a config's model what the weights ask for; give what was set, for ``--cfg-options``, and why."""
    given, notes = {}, []
    for setting in settings:
        found = value_of(model, setting.key, setting.otherwise)
        if setting.value is None:
            notes.append(setting.why.format(spelled(found)))
        elif found != setting.value:
            owner, _, key = setting.key.rpartition('.')
            value_of(model, owner)[key] = setting.value
            given[f'model.{setting.key}'] = setting.value
            notes.append(f'{setting.why.format(spelled(found))}{options(given, setting.key)}')
    return given, notes


def options(given: dict[str, object], key: str = '') -> str:
    """What to type for these settings, or for the one of this key; nothing for none."""
    typed = [f' {name}={spelled(value)}' for name, value in given.items() if name.endswith(key)]
    return f' --cfg-options{"".join(typed)}' if typed else ''


def spelled(value: object) -> str:
    """A number as one types it: 1e-5."""
    return str(value).replace('e-0', 'e-')


def value_of(model: dict, key: str, otherwise: object = None) -> object:
    """What lies under a dotted key."""
    for part in key.split('.'):
        model = model.get(part) if isinstance(model, dict) else None
    return otherwise if model is None else model
