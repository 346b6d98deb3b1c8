"""Bring other people's weights to MMDetection's names and to the class order of one of our configs, or take them back.

The source is told from the names of its tensors. Every one of them is converted, or left and named with the reason.
"""

import argparse
import os
import re
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
from damamba.checkpoint.conversion.parts import class_names
from damamba.checkpoint.conversion.torchvision import EPSILON, LICENCE
from damamba.checkpoint.conversion.torchvision_back import DEFAULT
from damamba.checkpoint.publishing import write_weights
from damamba.cli.commands import command_parser
from damamba.cli.common import run
from damamba.cli.console import say
from damamba.engine.config import read_config
from damamba.engine.converted import GUIDE, check_model, check_torchvision, options, settle, spelled, value_of
from damamba.engine.loading import fill
from damamba.evaluation.building import datasets_of
from damamba.inference.published import CONFIGS
from damamba.types import class_of

SHOWN = 10  # classes that are each named
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
    args.classes = args.classes and class_names(args.classes, '--classes')
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
    if target.exists():
        raise CheckpointError(f'{target} exists: give the result another name, or remove that')


def _convert(args: argparse.Namespace, content: Mapping) -> None:
    cfg = read_config(args.config) if args.config else None
    order = cfg and _classes_of(cfg)
    converted = convert(content, args.form, args.classes, order, labels_beside(args.source))
    config = args.config or _shown(CONFIGS / Path(converted.config).relative_to('configs'))
    cfg = cfg or read_config(config)
    fits = _same(_classes_of(cfg), converted.classes)
    check_model(cfg.model, config, converted)
    given, notes = settle(cfg.model, converted.settings)
    model = _model_of(cfg, None if fits else len(converted.classes))
    fill(model, converted.state, args.source, needs_all=True)
    told = {key: getattr(converted, key) for key in ('source', 'variant', 'licence')}
    if converted.source == 'torchvision':
        told['epsilon'] = float(value_of(cfg.model, EPSILON, DEFAULT))
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
    found = dataset.get('metainfo', {}).get('classes') or class_of(dataset, DATASETS).METAINFO['classes']
    return class_names(found, cfg.filename or 'the config')


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
    named = [f'{name} <- row {row}' for name, row in zip(converted.classes, converted.rows, strict=True)]
    lines += _wrapped('classes: ', _in_short(named, converted.rows))
    lines.append(f'filled: {len(converted.state)} of {len(model.state_dict())} parameters and buffers of {config}')
    lines += [f'  {line}' for line in _grouped(converted.added, 'that the source does not have, ')]
    lines += [f'left: {line}' for line in _grouped(converted.left)] or ['left: nothing']
    others = {value.dtype for value in converted.state.values() if value.is_floating_point()} - {torch.float32}
    if others:
        lines.append(f'written as float32: what came as {" and ".join(sorted(str(it)[6:] for it in others))}')
    lines += [line for note in (*converted.notes, *notes) for line in _wrapped('note: ', [note])]
    return [*lines, *_wrapped('licence: ', [converted.licence])]


def _in_short(named: list[str], rows: Sequence[int]) -> list[str]:
    """Many classes of an order that did not change on one line: the first and the last."""
    if len(named) <= SHOWN or [*rows] != sorted(rows):
        return named
    return [f'{len(named)} in the same order', f'{named[0]} to {named[-1]}']


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
    meta = content['meta'] if isinstance(content.get('meta'), Mapping) else {}
    cfg = read_config(args.config) if args.config else None
    _check_trained_by(meta, cfg and cfg.model, args)
    classes = _known_classes(meta, cfg, args)
    restored = restore(state, classes, args.classes)
    epsilon = float(value_of(cfg.model, EPSILON, DEFAULT)) if cfg else _epsilon(meta)
    lines, model = _report_back(restored, epsilon), restored.builder(epsilon)
    write_weights({name: _single(value) for name, value in restored.state.items()}, None, args.target)
    for line in [*lines, *_wrapped('licence: ', [_licence(meta)])]:
        say(line)
    say(f'written: {args.target}, for this model:')
    for line in _filled(model, args.target):
        say(f'    {line}')


def _filled(model: Sequence[str], path: Path) -> list[str]:
    """The Python that makes a model and fills it from a file."""
    if path.suffix == '.safetensors':
        return ['from safetensors.torch import load_file', *model, f'model.load_state_dict(load_file({str(path)!r}))']
    return ['import torch', *model, f'model.load_state_dict(torch.load({str(path)!r}))']


def _check_trained_by(meta: Mapping, model: dict | None, args: argparse.Namespace) -> None:
    """Refuse the weights of a config that does not compute what torchvision does; CheckpointError."""
    if model:
        check_torchvision(model, args.config)
    if isinstance(meta.get('cfg'), str) and TRANSFORM not in meta['cfg']:
        raise CheckpointError(
            f'{args.source} was trained by a config that does not compute what torchvision does: {GUIDE} names those'
        )


def _known_classes(meta: Mapping, cfg: Config | None, args: argparse.Namespace) -> tuple[str, ...] | None:
    """Ours, in their order, as the file or the config names them; CheckpointError where the two disagree."""
    told = meta.get('dataset_meta')
    found = told.get('classes') if isinstance(told, Mapping) else told
    known = None if found is None else class_names(found, args.source)
    classes = _classes_of(cfg) if cfg else known
    if known and not _same(known, classes):
        raise CheckpointError(
            f'{args.source} has the classes {_listed(known)}, {args.config} {_listed(classes)}: give the config '
            'that it was trained by'
        )
    return classes


def _same(names: Sequence[str], others: Sequence[str]) -> bool:
    return [*map(str.casefold, names)] == [*map(str.casefold, others)]


def _listed(names: Sequence[str]) -> str:
    return ', '.join(names[:5]) + (', ...' if len(names) > 5 else '')


def _epsilon(meta: Mapping) -> float | None:
    """Of our batch normalisation: from the config that a training wrote, or from what a conversion did."""
    text = ''.join(meta['cfg'].split()) if isinstance(meta.get('cfg'), str) else ''  # laid out or not
    for start in ('model=dict(', 'backbone=dict(', 'norm_cfg=dict('):
        text = text.partition(start)[2]
    if norm := text.partition(')')[0]:
        found = re.search(r'\beps=(\d[\d.]*(?:e-?\d+)?)\b', norm)
        return float(found[1]) if found and found[1].count('.') < 2 else DEFAULT
    told = meta['converted'].get('epsilon') if isinstance(meta.get('converted'), Mapping) else None
    return told if isinstance(told, float) else None


def _licence(meta: Mapping) -> str:
    """That of the weights that were converted, or what torchvision says of its own."""
    told = meta['converted'].get('licence') if isinstance(meta.get('converted'), Mapping) else None
    return told if isinstance(told, str) and told.isprintable() else LICENCE


def _report_back(restored: Restored, epsilon: float | None) -> list[str]:
    """Which model takes these weights, which class stands where, what was filled and left."""
    lines = [f"torchvision's {restored.variant}: {len(restored.state)} tensors"]
    named = [f'row {row} is {name}' for row, name in zip(sorted(restored.rows), restored.classes, strict=True)]
    lines += _wrapped('classes: row 0 is background, ', _in_short(named, restored.rows))
    lines += [f'filled: {name}: {value}' for name, value in restored.added.items()]
    lines += [f'left: {line}' for line in _grouped(restored.left, 'that torchvision does not have, ')]
    if epsilon is None:
        unknown = 'neither the file nor a config says the epsilon of the batch normalisation, taken for 1e-5: --config'
        return lines + _wrapped('note: ', [f'{unknown} tells'])
    return [*lines, f'epsilon of the batch normalisation: {spelled(epsilon)}']


def _shown(path: Path) -> str:
    """A path as it is typed here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    run(show, argv)
