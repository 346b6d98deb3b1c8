"""The memory of a whole test step that ends in 100 masks of 2448x2048 pixels. Needs MMDetection.

    python benchmarks/masks.py
    python benchmarks/masks.py --plain --models mask2former

A test step is what the runner does with a picture, brought to 1333x800 as configs have it: preprocessing, detection,
masks at the size of the file; then the evaluator encodes them. Weights and pictures are random, and as many instances
are kept as configs allow. Each model has a process of its own. On the CPU figures are of resident memory: after
building, and at most; on a GPU of what torch has allocated there.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout: nothing needs to be installed

from benchmarks import detector, runner
from benchmarks.runner import Shape, number

NAME = 'masks'
INSTANCES = 100
LABELS = {
    'mask-rcnn': 'Mask R-CNN, ResNet-50',
    'damamba': 'Mask R-CNN, DAMamba-T',
    'mask2former': 'Mask2Former, Swin-B',
}
PLAIN = ", MMDetection's fusion head"
CONFIGS = {
    'mask-rcnn': 'mask_rcnn_r50_fpn_armbench',
    'damamba': 'mask_rcnn_DAMamba_tiny_fpn_armbench',
    'mask2former': 'mask2former_swin-b-p4-w12-384_armbench',
}
FOLDER = Path(__file__).resolve().parents[1] / 'configs' / 'armbench'
DEFAULTS = {device: dict(repeat=1, shape=Shape(1, 2048, 2448), scale=Shape(1, 800, 1333)) for device in ('cpu', 'cuda')}


def read_model(name: str, plain: bool) -> dict:
    """The model's config, which keeps 100 instances whatever they score; ``plain``: MMDetection's own last steps."""
    from mmengine.config import Config

    model = Config.fromfile(FOLDER / f'{CONFIGS[name]}.py').model
    if name == 'damamba':
        model.backbone.norm_cfg = dict(type='BN')
    if name == 'mask2former':
        model.test_cfg.max_per_image = INSTANCES
        if plain:
            model.panoptic_fusion_head.type = 'MaskFormerFusionHead'
    else:
        model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=INSTANCES)
    return model


def make_batch(shape: Shape, scale: Shape) -> dict[str, list]:
    """Noise, as large as pictures of this shape are after the test pipeline."""
    from mmcv import rescale_size
    from mmdet.structures import DetDataSample

    width, height = rescale_size((shape.width, shape.height), (scale.width, scale.height))
    sizes = dict(ori_shape=(shape.height, shape.width), img_shape=(height, width))
    factor = (width / shape.width, height / shape.height)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (shape.batch, 3, height, width), dtype=torch.uint8, generator=generator)
    metas = [dict(img_id=i, scale_factor=factor, instances=[], **sizes) for i in range(shape.batch)]
    return dict(inputs=list(noise), data_samples=[DetDataSample(metainfo=meta) for meta in metas])


def build(name: str, plain: bool, device: str) -> nn.Module:
    from mmdet.registry import MODELS

    torch.manual_seed(0)
    return MODELS.build(read_model(name, plain)).to(device).eval()


def measure(name: str, plain: bool, args: argparse.Namespace) -> dict:
    """One test step in this process: a row."""
    from mmengine.evaluator import Evaluator

    from damamba.engine.speed import peak_memory
    from damamba.evaluation.metric import CocoInstanceMetric

    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    detector.prepare_mmdet()
    model, batch = build(name, plain, args.device), make_batch(args.shape, args.scale)
    evaluator = Evaluator([CocoInstanceMetric(metric=['bbox', 'segm'])])
    base, start = peak_memory(device), time.perf_counter()
    with torch.no_grad():
        found = model.test_step(batch)
    if args.device == 'cuda':
        torch.cuda.synchronize()
    detected, stepped = time.perf_counter(), peak_memory(device)
    evaluator.process(found)
    return dict(
        benchmark=NAME,
        model=LABELS[name] + (PLAIN if plain else ''),
        **args.shape._asdict(),
        instances=sum(len(sample.pred_instances) for sample in found),
        base_bytes=base,
        step_bytes=stepped,
        peak_bytes=peak_memory(device),
        step_seconds=detected - start,
        encode_seconds=time.perf_counter() - detected,
    )


def measure_apart(name: str, plain: bool, args: argparse.Namespace) -> dict:
    """The same in a fresh process: what a process held at most is never forgotten."""
    runner.progress(f'measuring {LABELS[name]}')
    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:
        row = pool.submit(measure, name, plain, args).result()
    runner.progress('')
    return row


def print_rows(rows: Sequence[dict], args: argparse.Namespace) -> None:
    header = ('model', 'instances', 'GB after building', 'GB at most', 'seconds', 'of encoding')
    lines = [
        (
            row['model'],
            str(row['instances']),
            *(number(row[f'{moment}_bytes'] / 1e9) for moment in ('base', 'peak')),
            *(number(row[f'{part}_seconds']) for part in ('step', 'encode')),
        )
        for row in rows
    ]
    runner.print_table(f'Test step and encoding of masks: {args.shape}, {args.device}', header, lines)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = runner.make_parser(__doc__)
    runner.add_shape(parser, DEFAULTS, '--shape', 'pictures of a step as their files have them')
    runner.add_shape(parser, DEFAULTS, '--scale', 'what they are brought to; its batch is not used')
    runner.add_models(parser, LABELS)
    parser.add_argument('--plain', action='store_true', help="measure Mask2Former with MMDetection's head, too")
    return runner.parse(parser, argv, DEFAULTS, NAME)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    detector.prepare_mmdet()
    cases = [(name, False) for name in args.models]
    cases += [('mask2former', True)] if args.plain and 'mask2former' in args.models else []
    runner.run(([measure_apart(name, plain, args)] for name, plain in cases), args, print_rows)


if __name__ == '__main__':
    main()
