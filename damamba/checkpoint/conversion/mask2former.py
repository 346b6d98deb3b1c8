"""Mask2Former (arXiv 2112.01527) with Swin for instances, in Hugging Face's form and in detectron2's.

Sources: transformers' models/mask2former and models/swin; facebookresearch/Mask2Former, mask2former/modeling and
MODEL_ZOO.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from damamba.checkpoint.conversion import mask2former_layout, swin
from damamba.checkpoint.conversion.coco import CLASSES
from damamba.checkpoint.conversion.layers import Names, Naming, how_many, spelling, take_over
from damamba.checkpoint.conversion.mask2former_layout import DECODER, ENCODER, Head
from damamba.checkpoint.conversion.parts import INTEGERS, Account, Converted, Setting, Source, places, taken_for
from damamba.checkpoint.conversion.swin import Swin
from damamba.checkpoint.files import CheckpointError

WANTED = 'wanted Mask2Former with Swin'
PANOPTIC = 133  # COCO's things and stuff
SIZES = {  # as published
    't': Swin(96, (2, 2, 6, 2), (3, 6, 12, 24), 7),
    's': Swin(96, (2, 2, 18, 2), (3, 6, 12, 24), 7),
    'b': Swin(128, (2, 2, 18, 2), (4, 8, 16, 32), 12),
    'l': Swin(192, (2, 2, 18, 2), (6, 12, 24, 48), 12),
}
CONFIG = 'configs/mask2former/mask2former_swin-{}_coco.py'
ARMBENCH_CONFIG = 'configs/armbench/mask2former_swin-b-p4-w12-384_armbench.py'
ARMBENCH_ORDER = ('Object', 'Tote')  # of that config
ZOO = 'MODEL_ZOO.md of https://github.com/facebookresearch/Mask2Former puts what it links under CC BY-NC 4.0'
CLASS_LAYER = 'panoptic_head.cls_embed'
UNUSED = {  # by the end of the name
    'criterion.empty_weight': 'the weights of the classes in the loss, which are in the config',
    '.swin.layernorm.weight': 'a norm of Swin as a classifier, which Mask2Former does not use',
    '.swin.layernorm.bias': 'a norm of Swin as a classifier, which Mask2Former does not use',
}


@dataclass(frozen=True)
class Form:
    """How a source names things."""

    name: str  # of the Source
    owner: str  # whose it is, as one writes it
    backbone: tuple[str, Names]  # what stands before the names, and they
    head: tuple[str, Names]
    older: Mapping[str, str]
    licence: str

    @property
    def what(self) -> str:
        """As errors name it."""
        return f"{self.owner}'s Mask2Former"


HUGGINGFACE = Form(
    name='huggingface',
    owner='Hugging Face',
    backbone=('model.pixel_level_module.encoder.', swin.HUGGINGFACE),
    head=('', mask2former_layout.HUGGINGFACE),
    older=swin.HUGGINGFACE_OLDER,
    licence='facebook/mask2former-swin-* on https://huggingface.co are marked "License: other", and no text is named; '
    f'they came out with detectron2, where {ZOO}',
)
DETECTRON2 = Form(
    name='detectron2',
    owner='detectron2',
    backbone=('backbone.', swin.DETECTRON2),
    head=('sem_seg_head.', mask2former_layout.DETECTRON2),
    older=mask2former_layout.DETECTRON2_OLDER,
    licence=ZOO,
)


def to_mmdet(account: Account, form: Form) -> tuple[dict[str, Tensor], Swin, Head]:
    """Take all of a Mask2Former under MMDetection's names, its classes in the source's order; also give its sizes.

    Raises:
        CheckpointError: a tensor is missing, or of another shape, or is no part of a Mask2Former with Swin.
    """
    spelled = spelling(account.state, form.older)
    backbone, head = Naming(*form.backbone, spelled), Naming(*form.head, spelled)
    sizes = swin.recognise(account.state, backbone)
    state = {
        f'backbone.{name}': swin.in_our_order(name, value)
        for name, value in take_over(account, sizes.tensors(), backbone).items()
    }
    for block in sizes.blocks():
        state[f'backbone.{swin.INDEX.format(*block)}'] = _index(account, backbone(swin.INDEX, block)[0], sizes.window)
    rest = _head(account, head, sizes)
    state |= {f'panoptic_head.{name}': value for name, value in take_over(account, rest.tensors(), head).items()}
    for name in account.state:
        for end, reason in UNUSED.items():
            if f'.{name}'.endswith(end):
                account.leave(name, reason)
    account.close()
    return state, sizes, rest


def _index(account: Account, name: str, window: int) -> Tensor:
    """Which row of a table belongs to each two places of a window; sources that keep it all have the same."""
    index = swin.index_of_positions(window)
    if name in account.state:
        theirs = account.take(name, index.shape, INTEGERS)
        if not (theirs.is_meta or torch.equal(theirs, index)):
            raise CheckpointError(f'{account.what} has {name} that is not of a window of {window} x {window}')
    return index


def _head(account: Account, naming: Naming, backbone: Swin) -> Head:
    rows, width = _shape(account, naming('cls_embed.weight')[0])
    return Head(
        inputs=tuple(backbone.channels << stage for stage in range(swin.STAGES)),
        width=width,
        queries=_shape(account, naming('query_feat.weight')[0])[0],
        encoder=how_many(account.state, naming, f'{ENCODER}norms.0.weight'),
        decoder=how_many(account.state, naming, f'{DECODER}norms.0.weight'),
        classes=rows - 1,
    )


def _shape(account: Account, name: str) -> tuple[int, ...]:
    value = account.take(name, (None, None))
    account.used.pop()  # it is taken again, with the others
    return tuple(value.shape)


def matches(form: Form, state: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of a model of the source that segments, of whatever kind."""
    kinds = {
        'huggingface': ('model.pixel_level_module.',),
        'detectron2': ('sem_seg_head.', 'proposal_generator.', 'backbone.bottom_up.', 'backbone.res2.'),
    }
    return any(name.startswith(kinds[form.name]) for name in state)


def convert(
    form: Form, state: Mapping[str, Tensor], classes: Sequence[str] | None, order: Sequence[str] | None
) -> Converted:
    """A Mask2Former's weights under MMDetection's names (:func:`damamba.checkpoint.conversion.convert`)."""
    _refuse_others(form, state)
    account = Account(state, form.what)
    size = _size(swin.recognise(state, Naming(*form.backbone, spelling(state, form.older))))
    result, backbone, head = to_mmdet(account, form)
    indices = [f'backbone.{swin.INDEX.format(*block)}' for block in backbone.blocks()]
    if any(name.endswith('.relative_position_index') for name in account.used):
        indices = []
    guessed = () if classes else (taken_for('COCO', head.classes),)
    config, classes, order = _settled(head.classes, size, classes, order)
    rows = places(classes, order)
    for part in ('weight', 'bias'):
        name = f'{CLASS_LAYER}.{part}'
        result[name] = result[name][[*rows, head.classes]]
    return Converted(
        source=form.name,
        owner=form.owner,
        variant=f'{_named(size)} and {head.queries} queries',
        state=result,
        used=account.used,
        left=account.left,
        added=dict.fromkeys(indices, "what follows from the window's size"),
        classes=order,
        rows=tuple(rows),
        config=config,
        licence=form.licence,
        settings=(_queries(head),),
        notes=guessed,
    )


SOURCES = tuple(Source(form.name, partial(matches, form), partial(convert, form)) for form in (HUGGINGFACE, DETECTRON2))


def _refuse_others(form: Form, state: Mapping[str, Tensor]) -> None:
    """Name what can't be converted.

    Raises:
        CheckpointError: it is another model of the source.
    """
    naming = Naming(*form.head, spelling(state, form.older))
    if naming('query_feat.weight')[0] in state:
        return
    kinds = {
        'proposal_generator.': 'R-CNN',
        'sem_seg_head.predictor.': 'MaskFormer',
        'sem_seg_head.': 'semantic or panoptic segmentation by convolutions',
        'model.text_mapper.': 'OneFormer',
        'model.task_encoder.': 'OneFormer',
        'model.transformer_module.': 'MaskFormer',
    }
    found = (kind for start, kind in kinds.items() if any(name.startswith(start) for name in state))
    raise CheckpointError(f'these are weights of {next(found, "another model")} in the form of {form.name}; {WANTED}')


def _size(backbone: Swin) -> str:
    for size, known in SIZES.items():
        if backbone == known:
            return size
    published = '; '.join(f'Swin-{size.upper()} has {known}' for size, known in SIZES.items())
    raise CheckpointError(f'the backbone is a Swin of {backbone}, of which no config is there: {published}')


def _named(size: str) -> str:
    return f'Mask2Former with Swin-{size.upper()}'


def described(backbone: Mapping) -> str:
    """The model of a config with this backbone."""
    depths, heads = (tuple(backbone.get(key) or ()) for key in ('depths', 'num_heads'))
    found = Swin(backbone.get('embed_dims'), depths, heads, backbone.get('window_size'))
    size = next((size for size, known in SIZES.items() if known == found), None)
    return _named(size) if size else 'Mask2Former with another backbone'


def _settled(
    count: int, size: str, classes: Sequence[str] | None, order: Sequence[str] | None
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The config, the classes in the source's order, and in the config's."""
    if count == PANOPTIC and not classes:
        raise CheckpointError(f'these are weights for {count} things and stuff (panoptic); {WANTED} for instances')
    if count == len(CLASSES):
        classes = classes or tuple(CLASSES.values())
    if not count:
        raise CheckpointError('these weights have a row for no object, and none for a class')
    if not classes:
        raise CheckpointError(f'these weights are for {count} classes: name them in their order, by --classes')
    if len(classes) != count:
        raise CheckpointError(
            f'these weights are for {count} classes, and {len(classes)} are named: {", ".join(classes)}'
        )
    config, ours = CONFIG.format(size), None
    if size == 'b' and sorted(map(str.casefold, classes)) == sorted(map(str.casefold, ARMBENCH_ORDER)):
        config, ours = ARMBENCH_CONFIG, ARMBENCH_ORDER
    return config, tuple(classes), tuple(order or ours or classes)


def _queries(head: Head) -> Setting:
    why = f'it has {head.queries} queries, and the config {{}}:'
    return Setting('panoptic_head.num_queries', head.queries, 100, why)
