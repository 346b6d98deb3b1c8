"""The backbones that are compared, and the steps in which they are timed. Missing packages only leave models out."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.runner import DTYPES, Case, Shape
from damamba.models import DAMamba, fuse

PACKAGES = {'timm': 'timm', 'mmdet': 'MMDetection'}
SWINS = ('swin-mmdet', 'swin-timm')  # the first that ran is what others are compared with


class Peer(NamedTuple):
    """A backbone: its name in tables, the package it is from, and how it is built for pictures of a shape."""

    label: str
    package: str
    build: Callable[[Shape], nn.Module]


def _timm(name: str, **options) -> Callable[[Shape], nn.Module]:
    return lambda shape: import_module('timm').create_model(name, features_only=True, **options)


def _timm_swin(shape: Shape) -> nn.Module:
    sizes = dict(img_size=(shape.height, shape.width), strict_img_size=False)
    return _timm('swin_tiny_patch4_window7_224', drop_path_rate=0.2, **sizes)(shape)


def _mmdet_swin(shape: Shape) -> nn.Module:
    """As in mmdet/configs/swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py."""
    swin = import_module('mmdet.models.backbones').SwinTransformer
    return swin(embed_dims=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7, drop_path_rate=0.2)


def _mmdet_resnet(shape: Shape) -> nn.Module:
    """All of it trained, as the others are; configs freeze the first stage and every batch normalisation."""
    return import_module('mmdet.models.backbones').ResNet(depth=50, norm_eval=False)


def _graphed(shape: Shape) -> nn.Module:
    return torch.compile(DAMamba('tiny'), mode='reduce-overhead')


PEERS = {
    'damamba': Peer('DAMamba-T', 'damamba', lambda shape: DAMamba('tiny')),
    'damamba-whole': Peer('DAMamba-T, nothing dropped', 'damamba', lambda shape: DAMamba('tiny', drop_path_rate=0.0)),
    'damamba-fused': Peer('DAMamba-T, fused', 'damamba', lambda shape: fuse(DAMamba('tiny'))),
    'damamba-cp': Peer('DAMamba-T, with_cp', 'damamba', lambda shape: DAMamba('tiny', with_cp=True)),
    'damamba-compiled': Peer('DAMamba-T, torch.compile', 'damamba', lambda shape: torch.compile(DAMamba('tiny'))),
    'damamba-graphs': Peer('DAMamba-T, reduce-overhead', 'damamba', _graphed),  # CUDA graphs, on a GPU
    'swin-mmdet': Peer('Swin-T (MMDetection)', 'mmdet', _mmdet_swin),
    'swin-timm': Peer('Swin-T (timm)', 'timm', _timm_swin),
    'resnet-mmdet': Peer('ResNet-50 (MMDetection)', 'mmdet', _mmdet_resnet),
    'resnet-timm': Peer('ResNet-50 (timm)', 'timm', _timm('resnet50', out_indices=(1, 2, 3, 4))),
    'convnext-timm': Peer('ConvNeXt-T (timm)', 'timm', _timm('convnext_tiny', drop_path_rate=0.4)),
}


def split_available(names: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """The peers whose package can be imported, and why the others are left out."""
    present, missing = [], {}
    for name in names:
        try:
            import_module(PEERS[name].package)
        except ImportError as error:
            package = PEERS[name].package
            missing[name] = f'skipped: {PACKAGES.get(package, package)} can not be imported ({error})'
        else:
            present.append(name)
    return present, missing


def build(name: str, shape: Shape, device: str, train: bool) -> nn.Module:
    """A peer with random weights, the same at every call."""
    torch.manual_seed(0)
    model = PEERS[name].build(shape).to(device)
    model.train(train)  # MMDetection's return nothing
    return model


def picture(shape: Shape, device: str) -> Tensor:
    return torch.randn(shape.batch, 3, shape.height, shape.width, device=device)


def precision(dtype: str, device: str) -> AbstractContextManager:
    return nullcontext() if dtype == 'fp32' else torch.autocast(device, DTYPES[dtype])


def forward_step(model: nn.Module, x: Tensor, dtype: str) -> Case:
    """A picture's features, without a graph."""

    @torch.no_grad()
    def step() -> object:
        with precision(dtype, x.device.type):
            return model(x)

    return step


def train_step(model: nn.Module, x: Tensor, dtype: str) -> Case:
    """Forward and backward from dense gradients of every feature map; no optimizer, the same for all."""
    gradients: list[Tensor] = []
    parameters = list(model.parameters())

    def step() -> None:
        for parameter in parameters:  # as optimizers do it; model.zero_grad walks all modules
            parameter.grad = None
        with precision(dtype, x.device.type):
            features = list(model(x))
        if not gradients:
            gradients.extend(torch.randn_like(feature) for feature in features)
        torch.autograd.backward(features, gradients)

    return step


def build_steps(names: Iterable[str], shape: Shape, dtype: str, device: str, train: bool) -> Iterator[tuple[str, Case]]:
    """(name, step) of each peer, all on one picture."""
    x = picture(shape, device)
    for name in names:
        make = train_step if train else forward_step
        yield name, make(build(name, shape, device, train), x, dtype)
