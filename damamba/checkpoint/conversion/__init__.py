"""Other people's weights under MMDetection's names, and back. Torch only, no OpenMMLab package.

A source is a module here with a :class:`Source`, which knows its weights by the names of the tensors. Every tensor of a
file is converted, or left with a reason; what no rule knows is an error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from damamba.checkpoint.conversion import mask2former, torchvision
from damamba.checkpoint.conversion.huggingface import Labels, files_of, labels_beside, read_source
from damamba.checkpoint.conversion.parts import Converted, Setting, Source, class_names
from damamba.checkpoint.conversion.torchvision_back import Restored, restore
from damamba.checkpoint.conversion.wrappings import KEYS, Unwrapped, unwrap
from damamba.checkpoint.files import CheckpointError
from damamba.checkpoint.states import describe

__all__ = [
    'SOURCES',
    'Converted',
    'Labels',
    'Restored',
    'Setting',
    'Source',
    'convert',
    'files_of',
    'labels_beside',
    'read_source',
    'restore',
]

SOURCES = {source.name: source for source in (torchvision.SOURCE, *mask2former.SOURCES)}


def convert(
    content: Mapping,
    source: str | None = None,
    classes: Sequence[str] | None = None,
    order: Sequence[str] | None = None,
    labels: Labels | None = None,
) -> Converted:
    """Bring weights to the names, shapes and class order of one of our configs.

    Args:
        content: what :func:`read_source` or :func:`damamba.checkpoint.read` returned.
        source: a key of SOURCES; by default the one that knows the names of the tensors.
        classes: the names of the source's classes in its order, without background; needed where their number does not
            tell.
        order: the config's classes in its order; by default those of the config that fits the source.
        labels: of :func:`labels_beside`, for Hugging Face's weights where ``classes`` are not given.

    Raises:
        CheckpointError: no source knows the weights; tensors are missing, too many or of another shape; or the classes
            are not those of the config.
    """
    classes = classes and class_names(classes, 'the source')
    order = order and class_names(order, 'the config')
    if source and source not in SOURCES:
        raise CheckpointError(f'{source} is no known source of weights: {_listed()}')
    candidates = [SOURCES[source]] if source else list(SOURCES.values())
    found = unwrap(content, lambda state: _known(candidates, state) is not None)
    chosen = _known(candidates, found.state)
    if chosen is None:
        raise CheckpointError(f'{_met(found)}; wanted weights in the form of {source or _listed()}')
    if classes or chosen.name != mask2former.HUGGINGFACE.name:
        labels = None
    result = chosen.convert(found.state, labels.names if labels else classes, order)
    return replace(result, left=result.left | found.left, notes=(*result.notes, *_notes(found, labels)))


def _known(candidates: Sequence[Source], state: Mapping[str, Tensor]) -> Source | None:
    return next((it for it in candidates if it.matches(state)), None)


def _met(found: Unwrapped) -> str:
    """What a file holds in which no source knows the weights."""
    if not found.state:
        held = f'holds {", ".join(found.keys[:5])}' if found.keys else 'is empty'
        return f'the file {held}, and no weights by themselves or under {", ".join(dict.fromkeys(KEYS))}'
    return f'these are {describe(found.state)}' + (f', under {".".join(found.under)}' if found.under else '')


def _notes(found: Unwrapped, labels: Labels | None) -> list[str]:
    notes = [f'the names of the classes are those of {labels.path}'] if labels else []
    if found.beside:
        others = ' and '.join(found.beside)
        notes.append(f'the weights under {".".join(found.under)} were taken, and not those under {others}')
    return notes


def _listed() -> str:
    *first, last = SOURCES
    return f'{", ".join(first)} or {last}' if first else last
