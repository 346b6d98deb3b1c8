"""One call: a model, a picture, a position -> what every stage of the backbone does there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from damamba.inference.explain.errors import ExplainError
from damamba.inference.explain.explanation import Explanation, StageScan
from damamba.inference.explain.geometry import Geometry
from damamba.inference.explain.picture import Prepared, prepare, read_picture
from damamba.inference.explain.receptive_field import receptive_fields
from damamba.inference.explain.recording import Scan, record_scans
from damamba.models import DAMamba
from damamba.models.damamba import Block

Position = tuple[float, float]


def explain(
    model: nn.Module,
    picture: str | Path | np.ndarray,
    position: Position | None = None,
    stage: int | None = None,
    block: int = -1,
) -> Explanation:
    """Look into a DAMamba: where its scan reads from, what reaches a position, how long its state remembers.

    Args:
        model: a detector of :func:`damamba.inference.init_detector`, fused or not, or a DAMamba.
        picture: a file, or an array [H, W, 3], uint8, blue first.
        position: (x, y) in the picture's pixels; by default the centre of the best detection, else the picture's.
        stage: from 1, the one that is animated; by default the one with most blocks.
        block: of each stage, from 0 or as -1 from the end.

    Raises:
        ExplainError: the model has no DAMamba, the picture can not be read, or holds no such position.
    """
    backbone = _backbone_of(model)
    stage = _checked_stage(backbone, stage, block)
    pixels = read_picture(picture)
    with _at_rest(model), torch.no_grad():
        prepared = prepare(model, pixels)
        position, reason = _settled(model, prepared, position)
        stages = _look(backbone, prepared, position, block)
    name = 'the picture' if isinstance(picture, np.ndarray) else Path(picture).name
    return Explanation(np.ascontiguousarray(pixels[..., ::-1]), name, position, reason, stage, stages)


def _backbone_of(model: nn.Module) -> DAMamba:
    backbone = getattr(model, 'backbone', model)
    if not isinstance(backbone, DAMamba):
        kind = type(backbone).__name__
        raise ExplainError(f'the backbone is a {kind}, not a DAMamba: there is no adaptive scan to look at')
    return backbone


def _checked_stage(backbone: DAMamba, stage: int | None, block: int) -> int:
    depths = [len(it.blocks) for it in backbone.stages[: max(backbone.out_indices) + 1]]
    if stage is not None and not 1 <= stage <= len(depths):
        raise ExplainError(f'stage must be from 1 to {len(depths)}, got {stage}')
    if not -min(depths) <= block < min(depths):
        raise ExplainError(f'block must be from {-min(depths)} to {min(depths) - 1}, as every stage has, got {block}')
    return stage or depths.index(max(depths)) + 1


@contextmanager
def _at_rest(model: nn.Module) -> Iterator[None]:
    """In evaluation, and thrifty with memory in a backward pass; after that all is as it was."""
    modes = [(module, module.training) for module in model.modules()]
    blocks = [(module, module.with_cp) for module in model.modules() if isinstance(module, Block)]
    model.eval()
    try:
        for block, _ in blocks:
            block.with_cp = True
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for block, mode in blocks:
            block.with_cp = mode


def _settled(model: nn.Module, prepared: Prepared, position: Position | None) -> tuple[Position, str]:
    """The position that is looked from, and why."""
    height, width = prepared.geometry.size
    if position is not None:
        if not prepared.geometry.contains(position):
            raise ExplainError(f'the picture is {width} x {height} pixels: it has no position {position}')
        return (float(position[0]), float(position[1])), 'as asked for'
    return _best_detection(model, prepared) or (((width - 1) / 2, (height - 1) / 2), "the picture's centre")


def _best_detection(model: nn.Module, prepared: Prepared) -> tuple[Position, str] | None:
    found = model.test_step(prepared.batch)[0].pred_instances if prepared.batch else ()
    if not len(found):
        return None
    best = found[int(found.scores.argmax())]
    left, top, right, bottom = best.bboxes[0].tolist()
    names = (getattr(model, 'dataset_meta', None) or {}).get('classes', ())
    label, score = int(best.labels[0]), float(best.scores[0])
    name = names[label] if label < len(names) else f'class {label}'
    return ((left + right) / 2, (top + bottom) / 2), f'the centre of a {name} found with a score of {score:.2f}'


def _look(backbone: DAMamba, prepared: Prepared, position: Position, block: int) -> tuple[StageScan, ...]:
    inputs, geometry = prepared.inputs.to(next(backbone.parameters())), prepared.geometry
    scans = record_scans(backbone, inputs, block)
    strides = [2 ** (i + 2) for i in range(len(scans))]
    cells = [
        geometry.nearest(position, stride, scan.offsets.shape[:2]) for stride, scan in zip(strides, scans, strict=True)
    ]
    fields = receptive_fields(backbone, inputs, cells)
    numbers = [range(len(it.blocks))[block] + 1 for it in backbone.stages[: len(scans)]]
    parts = zip(numbers, strides, cells, scans, fields, strict=True)
    return tuple(_stage(i + 1, *part, geometry) for i, part in enumerate(parts))


def _stage(
    stage: int, block: int, stride: int, cell: tuple[int, int], scan: Scan, field: np.ndarray, geometry: Geometry
) -> StageScan:
    field = field[: geometry.seen[0], : geometry.seen[1]]  # what lies in the padding is not in the picture
    total = field.sum(dtype=float)
    return StageScan(
        stage, block, stride, cell, geometry, scan.offsets, scan.log_decay, field / total if total > 0 else field
    )
