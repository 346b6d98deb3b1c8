"""Bring other people's weights to MMDetection's names and to the class order of one of our configs, or take them back.

The source is told from the names of its tensors. Every one of them is converted, or left and named with the reason.
"""

import argparse
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from damamba.checkpoint import CheckpointError, is_url, state_dict_of, trust_checkpoints
from damamba.checkpoint.conversion import (
    SOURCES,
    Converted,
    Restored,
    convert,
    files_of,
    labels_beside,
    read_source,
    restore,
)
from damamba.checkpoint.publishing import write_weights
from damamba.cli.commands import command_parser
from damamba.cli.common import run
from damamba.cli.console import say
from damamba.engine.config import read_config
from damamba.engine.converted import GUIDE, check_model, check_torchvision, options, settle
from damamba.engine.loading import fill
from damamba.evaluation.building import datasets_of
from damamba.inference.published import CONFIGS
from damamba.types import class_of

TRANSFORM = 'TorchvisionPreprocessor'  # in the text of each config that computes what torchvision does


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser('convert-weights', __doc__)
    parser.add_argument('source', metavar='SRC', help='weights: a path or URL, or a folder of Hugging Face')
    parser.add_argument('target', metavar='DST', type=Path, help='where to write, ending in .pth or .safetensors')
    parser.add_argument('--from', dest='form', choices=[*SOURCES], help='whose weights these are; by default, told')
    parser.add_argument(
        '--to', choices=['torchvision'], help="back: a fine-tuned Mask R-CNN R50 to torchvision's names"
    )
    parser.add_argument(
        '--classes',
        nargs='+',
        metavar='NAME',
        help="names of the source's classes in its order, without background, where their number does not tell; with "
        '--to the order in which they are written',
    )
    parser.add_argument(
        '--config',
        metavar='CONFIG',
        help='for this config, in the order of its classes; by default for the one that fits',
    )
    parser.add_argument('--trust-checkpoint', action='store_true', help='read a file that carries code, and run it')
    args = parser.parse_args(argv)
    if args.form and args.to:
        parser.error('--from and --to can not go together: --to takes weights of ours')
    return args


def show(argv: list[str] | None = None) -> None:
    """Parse, convert, check, write, say what was done."""
    args = parse(argv)
    if args.trust_checkpoint:
        trust_checkpoints()
    _check_target(args.source, args.target)
    content = read_source(args.source)
    (_take_back if args.to else _convert)(args, content)


def _check_target(source: str, target: Path) -> None:
    """Refuse to write over what is read; CheckpointError."""
    if target.suffix not in ('.pth', '.safetensors'):
        raise CheckpointError(f'{target} must end in .pth or .safetensors')
    read = [] if is_url(source) or not target.exists() else files_of(source)
    if any(os.path.exists(path) and target.samefile(path) for path in read):
        raise CheckpointError(f'{target} is what is to be converted: give the result another name')


def _convert(args: argparse.Namespace, content: Mapping) -> None:
    cfg = read_config(args.config) if args.config else None
    order = cfg and _classes_of(cfg)
    converted = convert(content, args.form, args.classes, order, labels_beside(args.source))
    config = args.config or _shown(CONFIGS / Path(converted.config).relative_to('configs'))
    cfg = cfg or read_config(config)
    fits = tuple(map(str.casefold, _classes_of(cfg))) == tuple(map(str.casefold, converted.classes))
    check_model(cfg.model, config, converted)
    given, notes = settle(cfg.model, converted.settings)
    model = _model_of(cfg, None if fits else len(converted.classes))
    fill(model, converted.state, args.source, needs_all=True)
    told = {key: getattr(converted, key) for key in ('source', 'variant', 'licence')}
    state = {name: _single(value) for name, value in converted.state.items()}
    write_weights(state, {'dataset_meta': {'classes': converted.classes}, 'converted': told}, args.target)
    for line in _report(converted, model, config, notes):
        say(line)
    say(f'written: {args.target}')
    own = f'next: a config for these classes that builds on {config}, as {GUIDE} shows'
    say(f'next: bash dist_test.sh {config} {args.target} 1 --eval bbox segm{options(given)}' if fits else own)


def _classes_of(cfg: Config) -> tuple[str, ...]:
    """The classes of what a config tests on, in the order of its model."""
    dataset = next(datasets_of(cfg.test_dataloader))
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    return tuple(dataset.get('metainfo', {}).get('classes') or class_of(dataset, DATASETS).METAINFO['classes'])


def _model_of(cfg: Config, classes: int | None) -> nn.Module:
    """The config's model without weights, for so many classes where they are not its own."""
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    head, former = cfg.model.get('roi_head'), cfg.model.get('panoptic_head')
    if classes and head:
        head.bbox_head.num_classes = head.mask_head.num_classes = classes
    if classes and former:
        former.num_things_classes = cfg.model.panoptic_fusion_head.num_things_classes = classes
        former.loss_cls.class_weight = [1.0] * classes + [0.1]
    return MODELS.build(cfg.model)


def _single(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _report(converted: Converted, model: nn.Module, config: str, notes: Sequence[str]) -> list[str]:
    """What was recognised, where each class went, what was filled, and what was left."""
    lines = [f"{converted.owner}'s {converted.variant}: {len(converted.used)} tensors taken"]
    lines += _wrapped(
        'classes: ', [f'{n} <- row {row}' for n, row in zip(converted.classes, converted.rows, strict=True)]
    )
    lines.append(f'filled: {len(converted.state)} of {len(model.state_dict())} parameters and buffers of {config}')
    lines += [f'  {line}' for line in _grouped(converted.added, 'that the source does not have, ')]
    lines += [f'left: {line}' for line in _grouped(converted.left)] or ['left: nothing']
    others = {value.dtype for value in converted.state.values() if value.is_floating_point()} - {torch.float32}
    if others:
        lines.append(f'written as float32: what came as {" and ".join(sorted(str(it)[6:] for it in others))}')
    lines += [line for note in (*converted.notes, *notes) for line in _wrapped('note: ', [note])]
    return [*lines, *_wrapped('licence: ', [converted.licence])]


def _grouped(reasons: dict[str, str], what: str = '') -> list[str]:
    """Names with the same reason on one line, if there are more than a few: how many, and the first."""
    groups: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        groups.setdefault(reason, []).append(name)
    lines = []
    for reason, names in groups.items():
        few = not what and len(names) < 3
        lines += [f'{it}: {reason}' for it in names] if few else [f'{len(names)} {what}{names[0]} ...: {reason}']
    return lines


def _wrapped(start: str, items: list[str]) -> list[str]:
    return textwrap.wrap(start + ', '.join(items), 110, subsequent_indent='  ', break_on_hyphens=False)


def _take_back(args: argparse.Namespace, content: Mapping) -> None:
    state, _ = state_dict_of(content)
    meta = content.get('meta') if isinstance(content.get('meta'), Mapping) else {}
    if TRANSFORM not in str(meta.get('cfg', TRANSFORM)):
        raise CheckpointError(
            f'{args.source} was trained by a config that does not compute what torchvision does: {GUIDE} names those'
        )
    known = (meta.get('dataset_meta') or {}).get('classes')
    cfg = read_config(args.config) if args.config else None
    if cfg:
        check_torchvision(cfg.model, args.config)
    classes = _classes_of(cfg) if cfg else known
    restored = restore(state, classes, args.classes)
    write_weights(restored.state, None, args.target)
    for line in _report_back(restored, classes):
        say(line)
    say(f'written: {args.target}, for torchvision.models.detection.{restored.builder}')


def _report_back(restored: Restored, classes) -> list[str]:
    """Which model takes these weights, which class stands where, what was filled and left."""
    named = [f'row {row} is {restored.classes[row - 1]}' for row in sorted(restored.rows)] if classes else []
    lines = [f"torchvision's {restored.variant}: {len(restored.state)} tensors"]
    lines += _wrapped('classes: row 0 is background, ', named)
    lines += [f'filled: {name}: {value}' for name, value in restored.added.items()]
    return lines + [f'left: {line}' for line in _grouped(restored.left, 'that torchvision does not have, ')]


def _shown(path: Path) -> str:
    """A path as it is typed here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    run(show, argv)
