"""A tiny data set in COCO's layout and a tiny detector, for tests that train and test for real."""

import json
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TINY_1X = ROOT / 'configs' / 'mask_rcnn_DAMamba_tiny_fpn_1x_coco.py'
SIZE = (96, 128)  # height, width

SMALL = """
_base_ = {base!r}
data_root = {data_root!r}
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
resize = dict(type='Resize', scale=(128, 96), keep_ratio=True)
keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
pipeline = [*load, resize, dict(type='PackDetInputs', meta_keys=keys)]
loader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root, pipeline=pipeline))
train_dataloader = dict(batch_size=1, **loader)
val_dataloader = loader
test_dataloader = loader
model = dict(
    backbone=dict(arch=dict(_delete_=True, depths=(1, 1, 1, 1), dims=(16, 32, 32, 48))),
    neck=dict(in_channels=[16, 32, 32, 48], out_channels=16),
    rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=16),
        bbox_head=dict(in_channels=16, fc_out_channels=32),
        mask_roi_extractor=dict(out_channels=16),
        mask_head=dict(in_channels=16, conv_out_channels=16, num_convs=1),
    ),
    train_cfg=dict(rpn_proposal=dict(max_per_img=50), rcnn=dict(sampler=dict(num=16))),
    test_cfg=dict(rpn=dict(max_per_img=20), rcnn=dict(score_thr=0.0, max_per_img=5)),
)
train_cfg = dict(max_epochs=1)
default_hooks = dict(logger=dict(interval=1))
"""


def write_coco(root: Path, train: int = 4, val: int = 3) -> Path:
    """Write pictures of ellipses on noise, with COCO's 80 categories; return the folder."""
    from mmdet.datasets import CocoDataset

    names = CocoDataset.METAINFO['classes']
    categories = [{'id': i + 1, 'name': name, 'supercategory': 'thing'} for i, name in enumerate(names)]
    (root / 'annotations').mkdir(parents=True)
    for split, count in (('train2017', train), ('val2017', val)):
        (root / split).mkdir()
        rng = np.random.default_rng(count)
        images, annotations = [], []
        for image_id in range(1, count + 1):
            name = f'{image_id:012d}.jpg'
            images.append({'id': image_id, 'file_name': name, 'height': SIZE[0], 'width': SIZE[1]})
            annotations += _draw(root / split / name, image_id, rng, len(annotations))
        data = {'images': images, 'annotations': annotations, 'categories': categories}
        (root / 'annotations' / f'instances_{split}.json').write_text(json.dumps(data))
    return root


def _draw(path: Path, image_id: int, rng: np.random.Generator, drawn: int) -> list[dict]:
    picture = rng.integers(0, 90, (*SIZE, 3), dtype=np.uint8)
    annotations = []
    for i in range(2):
        center = (int(32 + 64 * i), int(rng.integers(40, 56)))
        axes = (int(rng.integers(18, 28)), int(rng.integers(18, 34)))
        cv2.ellipse(picture, center, axes, 0, 0, 360, tuple(int(c) for c in rng.integers(120, 255, 3)), -1)
        polygon = cv2.ellipse2Poly(center, axes, 0, 0, 360, 12)
        x, y, w, h = cv2.boundingRect(polygon)
        annotations.append(
            {
                'id': drawn + i + 1,
                'image_id': image_id,
                'category_id': int(rng.integers(1, 4)),
                'bbox': [x, y, w, h],
                'area': float(cv2.contourArea(polygon)),
                'segmentation': [polygon.flatten().tolist()],
                'iscrowd': 0,
            }
        )
    cv2.imwrite(str(path), picture)
    return annotations


def write_config(path: Path, data_root: Path, base: Path = TINY_1X, extra: str = '') -> Path:
    """Write a leaf config that narrows ``base`` until a CPU step takes a moment."""
    path.write_text(SMALL.format(base=str(base), data_root=str(data_root)) + extra)
    return path
