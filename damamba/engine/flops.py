"""What a detector costs: the parameters and multiply-accumulates (MACs) of its parts, for one picture.

torch's FLOP counter counts convolutions, matrix products, attention and DAMamba's two operators. Norms, activations,
interpolation and other elementwise work are not counted, nor is what runs inside mmcv's compiled operators (RoIAlign,
deformable convolution). Whatever is counted is not computed: zeros take its place, so that the figures depend on
config and size alone, and take seconds.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from math import prod

import torch
from mmdet.models.roi_heads import CascadeRoIHead
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode, flop_registry

SPLIT = ('backbone', 'roi_head', 'panoptic_head')  # parts that are shown with their own parts
MASKS = 100  # RoIs that masks are for, as in MMDetection's forward of Mask R-CNN
BOX = (0.0, 0.0, 32.0, 32.0)  # of every proposal: where it lies costs nothing


@dataclass(frozen=True)
class Part:
    """Parameters and MACs of a part of the model, and of what it is made of; ``rois``: how many a head was given."""

    name: str
    params: int
    macs: int
    rois: int | None = None
    parts: tuple['Part', ...] = ()


@dataclass(frozen=True)
class Cost:
    """What a model costs for a picture of ``shape``, height and width, padded to ``padded``.

    ``published_macs`` is the total by the rules of torchprofile, which give DAMamba's published figures: a transposed
    convolution is charged the whole kernel at every position of its *output*, a norm one MAC for each number, and
    DAMamba's operators nothing.
    """

    shape: tuple[int, int]
    padded: tuple[int, int]
    total: Part
    published_macs: int

    def to_dict(self) -> dict:
        """Plain values for a JSON file."""
        return asdict(self)


class _Hollow(TorchDispatchMode):
    """Gives zeros, of the right shape and layout, for whatever the counter counts."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if getattr(func, '_overloadpacket', None) not in flop_registry:
            return func(*args, **kwargs)
        args, kwargs = tree_map_only(Tensor, lambda tensor: tensor.to('meta'), (args, kwargs))
        return tree_map_only(Tensor, lambda out: torch.zeros_like(out, device='cpu'), func(*args, **kwargs))


def _convolution_by_output(x, weight, *_, out_shape, **__) -> int:
    return 2 * out_shape[0] * prod(out_shape[2:]) * prod(weight)


def _norm(x, *_, **__) -> int:
    return 2 * prod(x)


_aten = torch.ops.aten
PUBLISHED = {
    _aten.convolution: _convolution_by_output,
    _aten.native_batch_norm: _norm,
    _aten._native_batch_norm_legit_no_training: _norm,
    _aten.native_layer_norm: _norm,
    _aten.native_group_norm: _norm,
}


def measure(config: dict, height: int, width: int) -> Cost:
    """Build the model that ``config`` describes, without loading weights, and count what it does with a picture.

    A detector with a region proposal network passes on as many proposals as its test settings allow, whatever it
    finds. Masks are for the first 100.
    """
    # With gradients on, the backbone folds no norm and cuts no map; since nothing needs any, none are kept.
    model = MODELS.build(config).eval().requires_grad_(False)
    _fix_proposals(model)
    _fix_masks(model)
    rois = _watch_rois(model)
    inputs, samples = _picture(model, height, width)
    published, counter = FlopCounterMode(display=False, custom_mapping=PUBLISHED), FlopCounterMode(display=False)
    _track_forwards(model, counter.mod_tracker.parents)
    with ExitStack() as stack:
        for context in (_Hollow(), published, counter):
            stack.enter_context(context)
        model(inputs, samples, mode='tensor')
    flops = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    return Cost(
        shape=(height, width),
        padded=tuple(inputs.shape[2:]),
        total=_part(_Tally(model, flops, rois), model, type(model).__name__, 'total', deep=True),
        published_macs=sum(n for op, n in published.flop_counts['Global'].items() if _is_torchs(op)) // 2,
    )


def _is_torchs(operator) -> bool:
    return str(operator).startswith('aten.')


def _picture(model: nn.Module, height: int, width: int) -> tuple[Tensor, list[DetDataSample]]:
    """A black picture, padded as the model wants it."""
    size = dict(img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0))
    picture = torch.zeros(3, height, width, dtype=torch.uint8)
    data = dict(inputs=[picture], data_samples=[DetDataSample(metainfo=size)])
    data = model.data_preprocessor(data, training=False)
    return data['inputs'], data['data_samples']


def _fix_proposals(model: nn.Module) -> None:
    """Let a region proposal network do its work, and pass on a fixed number of proposals."""
    head = getattr(model, 'rpn_head', None)
    count = (getattr(head, 'test_cfg', None) or {}).get('max_per_img')
    if count is None:
        return
    predict = head.predict

    def predict_fixed(*args, **kwargs) -> list[InstanceData]:
        predict(*args, **kwargs)
        return [InstanceData(bboxes=torch.tensor(BOX).expand(count, 4))]

    head.predict = predict_fixed


def _fix_masks(model: nn.Module) -> None:
    """Cascade R-CNN's forward gives every proposal a mask at every stage, Mask R-CNN's the first 100: so be it here."""
    head = getattr(model, 'roi_head', None)
    if type(head) is not CascadeRoIHead or not head.with_mask:
        return
    forward = head._mask_forward

    def forward_some(stage: int, x: tuple[Tensor, ...], rois: Tensor) -> dict:
        forward(stage, x, rois[:MASKS])
        return dict(mask_preds=torch.zeros(len(rois), 1, 1, 1))  # one each, which nobody looks at

    head._mask_forward = forward_some


def _track_forwards(model: nn.Module, running: set[str]) -> None:
    """Let the counter know when a part runs whose ``forward`` detectors call by name, which no hook sees."""

    def tracked(path: str, forward: Callable) -> Callable:
        def run(*args, **kwargs):
            if path in running:
                return forward(*args, **kwargs)
            running.add(path)
            try:
                return forward(*args, **kwargs)
            finally:
                running.remove(path)

        return run

    for name, part in model.named_children():
        part.forward = tracked(f'{type(model).__name__}.{name}', part.forward)


def _watch_rois(model: nn.Module) -> dict[nn.Module, int]:
    """Note how many RoIs each head of the RoI head is given."""
    rois: dict[nn.Module, int] = {}

    def note(module: nn.Module, args: tuple) -> None:
        if args and isinstance(args[0], Tensor):
            rois[module] = len(args[0])

    for _, module in _children(getattr(model, 'roi_head', None) or nn.Module()):
        module.register_forward_pre_hook(note)
    return rois


def _children(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The children by name; a list's are its items."""
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList):
            yield from ((f'{name}.{inner}', item) for inner, item in _children(child))
        else:
            yield name, child


class _Tally:
    """Parameters, MACs and RoIs by the path of a module, which begins with the name of the model's class."""

    def __init__(self, model: nn.Module, flops: dict[str, int], rois: dict[nn.Module, int]):
        root = type(model).__name__
        self.flops, self.rois = flops, rois
        self.sizes = {f'{root}.{name}': parameter.numel() for name, parameter in model.named_parameters()}

    def params(self, path: str) -> int:
        """Shared parameters belong to the first part that has them."""
        return sum(size for name, size in self.sizes.items() if name.startswith(f'{path}.'))

    def macs(self, module: nn.Module, path: str) -> int:
        """The counter knows modules that are called; of others, such as lists, the children count."""
        if path in self.flops:
            return self.flops[path] // 2
        return sum(self.macs(child, f'{path}.{name}') for name, child in _children(module))


def _part(tally: _Tally, module: nn.Module, path: str, name: str, deep: bool = False) -> Part:
    """A module with its parts, if they are wanted; those without MACs (norms, say) are summed up as the rest."""
    params, macs = tally.params(path), tally.macs(module, path)
    parts = []
    for child_name, child in _children(module) if deep else ():
        part = _part(tally, child, f'{path}.{child_name}', child_name, child_name in SPLIT)
        parts += [part] if part.macs else []
    rest = Part('rest', params - sum(part.params for part in parts), macs - sum(part.macs for part in parts))
    if parts and (rest.params or rest.macs):
        parts.append(rest)
    return Part(name, params, macs, tally.rois.get(module), tuple(parts))
