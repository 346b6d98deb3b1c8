"""The tensors of torchvision's Mask R-CNN with ResNet-50 and FPN, by both sides' names."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from damamba.checkpoint.conversion.parts import FLOATS, INTEGERS

DEPTHS = (3, 4, 6, 3)  # ResNet-50's blocks
COUNTER = 'num_batches_tracked'  # of a batch normalisation that is not frozen


class Entry(NamedTuple):
    """A tensor that both sides have, in the same shape."""

    theirs: str
    ours: str
    shape: tuple[int, ...]

    @property
    def kinds(self) -> Sequence[torch.dtype]:
        """What it may be of."""
        return INTEGERS if self.ours.endswith(COUNTER) else FLOATS


def layout(version: int) -> Iterator[Entry]:
    """All tensors that do not depend on the classes, in torchvision's order."""
    yield from _backbone()
    width, second = 256, version == 2
    for number in range(4):
        theirs, channels = f'backbone.fpn.inner_blocks.{number}', 256 * 2**number
        yield from _conv(theirs, f'neck.lateral_convs.{number}', (width, channels, 1, 1), second)
    for number in range(4):
        yield from _conv(
            f'backbone.fpn.layer_blocks.{number}', f'neck.fpn_convs.{number}', (width, width, 3, 3), second
        )
    for number in range(version):
        ours = f'rpn_head.rpn_conv.{number}.conv' if second else 'rpn_head.rpn_conv'
        yield from _linear(f'rpn.head.conv.{number}.0', ours, (width, width, 3, 3))
    yield from _linear('rpn.head.cls_logits', 'rpn_head.rpn_cls', (3, width, 1, 1))
    yield from _linear('rpn.head.bbox_pred', 'rpn_head.rpn_reg', (12, width, 1, 1))
    yield from _box_head(second)
    for number in range(4):
        theirs, ours = f'roi_heads.mask_head.{number}', f'roi_head.mask_head.convs.{number}'
        yield from _conv(theirs, ours, (width, width, 3, 3), second)
    yield from _linear(
        'roi_heads.mask_predictor.conv5_mask', 'roi_head.mask_head.upsample', (width, width, 2, 2), width
    )


def _backbone() -> Iterator[Entry]:
    """ResNet-50: both sides name its layers alike."""
    for name, shape in _resnet():
        theirs, ours = f'backbone.body.{name}', f'backbone.{name}'
        yield from (
            _norm(theirs, ours, shape[0]) if len(shape) == 1 else [Entry(f'{theirs}.weight', f'{ours}.weight', shape)]
        )


def _resnet() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Its convolutions, and its norms with their width alone."""
    yield from (('conv1', (64, 3, 7, 7)), ('bn1', (64,)))
    inner, width = 64, 64
    for stage, blocks in enumerate(DEPTHS, start=1):
        for block in range(blocks):
            name = f'layer{stage}.{block}'
            yield from ((f'{name}.conv1', (inner, width, 1, 1)), (f'{name}.bn1', (inner,)))
            yield from ((f'{name}.conv2', (inner, inner, 3, 3)), (f'{name}.bn2', (inner,)))
            yield from ((f'{name}.conv3', (4 * inner, inner, 1, 1)), (f'{name}.bn3', (4 * inner,)))
            if block == 0:
                yield (f'{name}.downsample.0', (4 * inner, width, 1, 1))
                yield (f'{name}.downsample.1', (4 * inner,))
            width = 4 * inner
        inner *= 2


def _box_head(second: bool) -> Iterator[Entry]:
    theirs, ours, wide = 'roi_heads.box_head', 'roi_head.bbox_head', 256 * 7 * 7
    if not second:
        yield from _linear(f'{theirs}.fc6', f'{ours}.shared_fcs.0', (1024, wide))
        yield from _linear(f'{theirs}.fc7', f'{ours}.shared_fcs.1', (1024, 1024))
        return
    for number in range(4):
        yield from _conv(f'{theirs}.{number}', f'{ours}.shared_convs.{number}', (256, 256, 3, 3), True)
    yield from _linear(f'{theirs}.5', f'{ours}.shared_fcs.0', (1024, wide))


def _conv(theirs: str, ours: str, shape: tuple[int, ...], normed: bool) -> Iterator[Entry]:
    """A convolution, with a bias or with a norm."""
    if not normed:
        yield from _linear(f'{theirs}.0', f'{ours}.conv', shape)
        return
    yield Entry(f'{theirs}.0.weight', f'{ours}.conv.weight', shape)
    yield from _norm(f'{theirs}.1', f'{ours}.bn', shape[0])


def _linear(theirs: str, ours: str, shape: tuple[int, ...], width: int | None = None) -> Iterator[Entry]:
    yield Entry(f'{theirs}.weight', f'{ours}.weight', shape)
    yield Entry(f'{theirs}.bias', f'{ours}.bias', (width or shape[0],))


def _norm(theirs: str, ours: str, width: int) -> Iterator[Entry]:
    for part in ('weight', 'bias', 'running_mean', 'running_var'):
        yield Entry(f'{theirs}.{part}', f'{ours}.{part}', (width,))
    yield Entry(f'{theirs}.{COUNTER}', f'{ours}.{COUNTER}', ())
