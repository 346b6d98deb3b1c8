"""Can the whole chain learn? Train a small DAMamba on a few pictures until it knows them, and test it on the same.

    python benchmarks/memorise.py data/coco

Takes the folder of any data set in COCO's layout; prints box and mask AP50, and ends with status 1 below --at-least.
"""

import argparse
import json
import sys
from collections import defaultdict
from itertools import islice
from pathlib import Path

from mmengine.config import Config

from damamba.cli.common import build_runner, run

ROOT = Path(__file__).resolve().parents[1]
DIMS = [32, 64, 128, 160]
WIDTH = 64


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data_root', type=Path, help="a data set in COCO's layout")
    parser.add_argument('--annotations', default='annotations/instances_train2017.json', help='in data_root')
    parser.add_argument('--pictures', default='train2017', help='their folder in data_root')
    parser.add_argument('--count', type=int, default=4, help='how many pictures to memorise')
    parser.add_argument('--iterations', type=int, default=300)
    parser.add_argument('--size', type=int, default=256, help='long side of the pictures in pixels, a multiple of 32')
    parser.add_argument('--at-least', type=float, default=0.8, help='AP50 of boxes and of masks to reach')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/memorise'))
    return parser.parse_args(argv)


def choose(data: dict, count: int) -> dict:
    """Keep the first pictures with 1 to 6 objects, all of them large enough to be seen when the picture is reduced."""
    objects = defaultdict(list)
    for annotation in data['annotations']:
        objects[annotation['image_id']].append(annotation)
    kept = list(islice((image for image in data['images'] if _is_simple(image, objects[image['id']])), count))
    if len(kept) < count:
        sys.exit(
            f'only {len(kept)} of {len(data["images"])} pictures have 1 to 6 objects of more than 1% of their area'
        )
    return {**data, 'images': kept, 'annotations': [a for image in kept for a in objects[image['id']]]}


def _is_simple(image: dict, objects: list[dict]) -> bool:
    smallest = 0.01 * image['width'] * image['height']
    return 1 <= len(objects) <= 6 and all(_area(a) > smallest and not a.get('iscrowd') for a in objects)


def _area(annotation: dict) -> float:
    return annotation.get('area') or annotation['bbox'][2] * annotation['bbox'][3]


def narrow(cfg: Config, classes: int) -> None:
    """Make the tiny 1x recipe's model small enough for a CPU."""
    arch = dict(_delete_=True, depths=(1, 1, 2, 1), dims=DIMS, drop_path_rate=0.0)
    extractor = dict(out_channels=WIDTH)
    norm = dict(type='GN', num_groups=8)  # helps a training from scratch
    cfg.merge_from_dict(
        dict(
            model=dict(
                backbone=dict(arch=arch, norm_cfg=dict(type='BN')),
                neck=dict(in_channels=DIMS, out_channels=WIDTH, norm_cfg=norm),
                rpn_head=dict(in_channels=WIDTH, feat_channels=WIDTH),
                roi_head=dict(
                    bbox_roi_extractor=extractor,
                    bbox_head=dict(in_channels=WIDTH, fc_out_channels=256, num_classes=classes),
                    mask_roi_extractor=extractor,
                    mask_head=dict(
                        in_channels=WIDTH, conv_out_channels=WIDTH, num_convs=2, num_classes=classes, norm_cfg=norm
                    ),
                ),
                train_cfg=dict(rpn_proposal=dict(max_per_img=128), rcnn=dict(sampler=dict(num=64))),
                test_cfg=dict(rpn=dict(max_per_img=128)),
            )
        )
    )


def configure(args: argparse.Namespace) -> Config:
    """Train and test on the chosen pictures, in one batch, without flips."""
    source = args.data_root / args.annotations
    if not source.is_file():
        sys.exit(f'{source} does not exist; --annotations names the file in the data set')
    data = choose(json.loads(source.read_text()), args.count)
    classes = tuple(category['name'] for category in data['categories'])
    cfg = Config.fromfile(ROOT / 'configs/mask_rcnn_DAMamba_tiny_fpn_1x_coco.py')
    narrow(cfg, len(classes))
    use_data(cfg, args, data, classes)
    use_schedule(cfg, args.iterations)
    cfg.randomness = dict(seed=0)
    cfg.work_dir = str(args.work_dir)
    return cfg


def use_data(cfg: Config, args: argparse.Namespace, data: dict, classes: tuple[str, ...]) -> None:
    """Point every dataloader at the chosen pictures."""
    subset = args.work_dir.resolve() / 'annotations.json'
    subset.parent.mkdir(parents=True, exist_ok=True)
    subset.write_text(json.dumps(data))
    # All padded alike: what is memorised of a picture includes where it ends.
    cfg.model.data_preprocessor.pad_size_divisor = args.size
    resize = dict(type='Resize', scale=(args.size, args.size), keep_ratio=True)
    load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
    keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
    pipeline = [*load, resize, dict(type='PackDetInputs', meta_keys=keys)]
    where = dict(data_root=str(args.data_root.resolve()), data_prefix=dict(img=args.pictures))
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.update(ann_file=str(subset), metainfo=dict(classes=classes), pipeline=pipeline, **where)
    cfg.train_dataloader.update(batch_size=args.count, batch_sampler=None)


def use_schedule(cfg: Config, iterations: int) -> None:
    """One batch an epoch, a short warm-up and a cosine; evaluate and save at the end."""
    cfg.train_cfg.update(max_epochs=iterations, val_interval=iterations)
    cfg.optim_wrapper.optimizer.lr = 5e-4
    cfg.optim_wrapper.clip_grad = dict(max_norm=10)
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=30),
        dict(type='CosineAnnealingLR', by_epoch=False, begin=30, end=iterations, eta_min=1e-5),
    ]
    cfg.default_hooks.checkpoint.update(interval=iterations)
    cfg.default_hooks.logger.interval = 50


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    runner = build_runner(configure(args), ('train', 'val'))
    runner.train()
    metrics = runner.val_loop.run()
    box, mask = (metrics[f'coco/{kind}_mAP_50'] for kind in ('bbox', 'segm'))
    sys.stdout.write(
        f'{args.count} pictures after {args.iterations} iterations: box AP50 {box:.3f}, mask AP50 {mask:.3f}\n'
    )
    if min(box, mask) < args.at_least:
        sys.exit(f'below {args.at_least}')


if __name__ == '__main__':
    run(main)
