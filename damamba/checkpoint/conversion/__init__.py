"""Other people's weights under MMDetection's names, and back. Torch only, no OpenMMLab package.

A source is a module here with a :class:`Source`, which knows its weights by the names of the tensors. Every tensor of a
file is converted, or left with a reason; what no rule knows is an error.
"""

from collections.abc import Mapping, Sequence

from damamba.checkpoint.conversion import mask2former, torchvision
from damamba.checkpoint.conversion.parts import Converted, Source
from damamba.checkpoint.conversion.torchvision import Restored, restore
from damamba.checkpoint.files import CheckpointError
from damamba.checkpoint.states import describe, state_dict_of

__all__ = ['SOURCES', 'Converted', 'Restored', 'Source', 'convert', 'restore']

SOURCES = {source.name: source for source in (torchvision.SOURCE, *mask2former.SOURCES)}


def convert(
    content: Mapping,
    source: str | None = None,
    classes: Sequence[str] | None = None,
    order: Sequence[str] | None = None,
) -> Converted:
    """Bring weights to the names, shapes and class order of one of our configs.

    Args:
        content: what :func:`damamba.checkpoint.read` returned.
        source: a key of SOURCES; by default the one that knows the names of the tensors.
        classes: the names of the source's classes in its order, without background; needed where their number does not
            tell.
        order: the config's classes in its order; by default those of the config that fits the source.

    Raises:
        CheckpointError: no source knows the weights; tensors are missing, too many or of another shape; or the classes
            are not those of the config.
    """
    state, _ = state_dict_of(content)
    if source and source not in SOURCES:
        raise CheckpointError(f'{source} is no known source of weights: {_listed()}')
    chosen = SOURCES[source] if source else next((it for it in SOURCES.values() if it.matches(state)), None)
    if chosen is None or not chosen.matches(state):
        raise CheckpointError(f'these are {describe(state)}; wanted weights in the form of {source or _listed()}')
    return chosen.convert(state, classes, order)


def _listed() -> str:
    *first, last = SOURCES
    return f'{", ".join(first)} or {last}' if first else last
