"""A whole Mask R-CNN: a training iteration and a test image, with DAMamba-T, Swin-T and ResNet-50. Needs MMDetection.

    python benchmarks/detector.py
    python benchmarks/detector.py --shape 1x256x320 --models damamba

Built from our 1x config and MMDetection's, with random weights, on synthetic pictures. An iteration is what the runner
does with a batch: preprocessing, losses, backward, a step of AdamW; bf16 means autocast. A test image is preprocessing,
detection and masks at the picture's size, batch 1. Batch normalisation is the plain one. ResNet-50 is as its config
says: its first stage is frozen and its normalisation not trained.
"""

import argparse
import copy
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout: nothing needs to be installed

from benchmarks import runner
from benchmarks.runner import DTYPES, Case, Clock, Shape, Timing

NAME = 'detector'
MODELS = {
    'damamba': ('DAMamba-T', str(runner.ROOT / 'configs/mask_rcnn_DAMamba_tiny_fpn_1x_coco.py')),
    'swin': ('Swin-T', 'mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py'),
    'resnet': ('ResNet-50', 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'),
}
MEASURES = {'train': 'Training iteration', 'test': 'Test image'}
OBJECTS = 8  # in each picture
DEFAULTS = {
    'cpu': dict(repeat=3, dtypes=['fp32'], shape=Shape(1, 384, 640)),
    'cuda': dict(repeat=20, dtypes=['fp32', 'bf16'], shape=Shape(2, 800, 1344)),
}


def read_model(name: str) -> dict:
    """The config's model, for one device; its weights are drawn, since nobody calls init_weights."""
    from mmengine.config import Config
    from mmengine.hub import get_config

    path = MODELS[name][1]
    model = (get_config(path) if path.startswith('mmdet::') else Config.fromfile(path)).model
    if name == 'damamba':
        model.backbone.norm_cfg = dict(type='BN')
    return model


def build_detector(name: str, device: str) -> nn.Module:
    """A detector with random weights, of which one class is likely enough to be found: masks are drawn, too."""
    from mmdet.registry import MODELS as REGISTRY

    torch.manual_seed(0)
    detector = REGISTRY.build(read_model(name)).to(device)
    with torch.no_grad():
        detector.roi_head.bbox_head.fc_cls.bias[0] += 3  # probability about 0.2, the others' about 0.01
    return detector


def make_batch(shape: Shape) -> dict[str, list]:
    """Noise, and objects in random boxes that fill their masks."""
    from mmdet.structures import DetDataSample

    generator = torch.Generator().manual_seed(0)
    size = (shape.height, shape.width)
    sizes = dict(img_shape=size, ori_shape=size, batch_input_shape=size, pad_shape=size, scale_factor=(1.0, 1.0))
    samples = []
    for i in range(shape.batch):
        sample = DetDataSample(metainfo=dict(img_id=i, **sizes))
        sample.gt_instances = _make_objects(shape, generator)
        samples.append(sample)
    noise = torch.randint(0, 256, (shape.batch, 3, *size), dtype=torch.uint8, generator=generator)
    return dict(inputs=list(noise), data_samples=samples)


def _make_objects(shape: Shape, generator: torch.Generator) -> Any:
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    scale = torch.tensor([shape.width, shape.height])
    corners = torch.rand(OBJECTS, 2, generator=generator) * 0.6 * scale
    sides = (0.1 + 0.3 * torch.rand(OBJECTS, 2, generator=generator)) * scale
    boxes = torch.cat((corners, corners + sides), dim=1)
    masks = torch.zeros(OBJECTS, shape.height, shape.width, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.long().tolist(), strict=True):
        mask[top:bottom, left:right] = 1
    labels = torch.randint(0, 80, (OBJECTS,), generator=generator)
    return InstanceData(bboxes=boxes, labels=labels, masks=BitmapMasks(masks.numpy(), shape.height, shape.width))


def train_step(detector: nn.Module, batch: dict, dtype: str, device: str) -> Case:
    """The runner's iteration."""
    from mmengine.optim import OptimWrapper

    from damamba.engine.amp import Bfloat16OptimWrapper

    detector.train()
    optimizer = torch.optim.AdamW([p for p in detector.parameters() if p.requires_grad], lr=1e-6)
    wrapper = Bfloat16OptimWrapper(optimizer) if dtype == 'bf16' else OptimWrapper(optimizer)
    return lambda: detector.train_step(copy.deepcopy(batch), wrapper)


def test_step(detector: nn.Module, batch: dict, dtype: str, device: str) -> Case:
    """The runner's test of one image; results stay on the device."""
    detector.eval()

    @torch.no_grad()
    def step() -> list[Tensor]:
        with torch.autocast(device, DTYPES['bf16'], enabled=dtype == 'bf16'):
            return detector.test_step(copy.deepcopy(batch))

    return step


def measure(kind: str, dtype: str, args: argparse.Namespace) -> list[dict]:
    """Time the detectors in turns; print and return a row for each."""
    shape = args.shape if kind == 'train' else args.shape._replace(batch=1)
    batch, make = make_batch(shape), train_step if kind == 'train' else test_step
    steps = {name: make(build_detector(name, args.device), batch, dtype, args.device) for name in args.models}
    timings = runner.interleave(steps, args.repeat, Clock(args.device))
    base = timings.get('swin', Timing()).median
    what = dict(dtype=dtype, **shape._asdict(), unit='ms')
    rows = [
        runner.compare(
            dict(benchmark=NAME, measure=kind, model=MODELS[name][0], **what), timing, base, MODELS['swin'][0]
        )
        for name, timing in timings.items()
    ]
    title = f'{MEASURES[kind]}, Mask R-CNN, milliseconds: {dtype}, {shape}, medians of {args.repeat}, {args.device}'
    runner.print_comparison(title, rows)
    steps.clear()
    runner.free(args.device)
    return rows


def prepare_mmdet() -> None:
    """Register our parts and theirs, or say what is missing."""
    try:
        import damamba.register  # noqa: F401
    except ImportError as error:
        sys.exit(f'this benchmark needs MMDetection, which can not be imported: {error}')
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=True)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = runner.make_parser(__doc__)
    runner.add_shape(parser, DEFAULTS, '--shape', 'batch of an iteration; a test image is one of it')
    runner.add_dtypes(parser, DEFAULTS)
    runner.add_models(parser, MODELS)
    parser.add_argument('--measures', nargs='+', choices=list(MEASURES), default=list(MEASURES))
    return runner.parse(parser, argv, DEFAULTS, NAME)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    prepare_mmdet()
    rows = runner.collect((measure(kind, dtype, args) for dtype in args.dtypes for kind in args.measures), args)
    runner.print_origin(rows, args)


if __name__ == '__main__':
    main()
