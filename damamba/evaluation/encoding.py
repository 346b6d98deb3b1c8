"""Masks as run-length encodings, one at a time."""

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from torch import Tensor


def encode(masks: Tensor) -> list[dict]:
    """masks [N, H, W], bool or uint8, on any device -> N RLEs, as pycocotools writes them.

    pycocotools reads by columns. OpenCV turns a mask, in half the time that NumPy takes; no more than one mask is
    copied at a time, also from a GPU.
    """
    arrays = (mask.cpu().numpy().astype(np.uint8, copy=False) for mask in masks.detach())
    return [coco_mask.encode(cv2.transpose(array).T) for array in arrays]  # .T: in Fortran's order


def with_encoded_masks(sample: dict) -> dict:
    """A detector's result (``pred_instances`` and more), its masks as RLEs; the one that is given stays as it is."""
    found = sample['pred_instances']
    if not isinstance(found.get('masks'), Tensor):
        return sample
    return {**sample, 'pred_instances': {**found, 'masks': encode(found['masks'])}}
