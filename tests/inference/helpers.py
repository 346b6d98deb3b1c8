"""What tests of detectors in use share."""

import numpy as np

from damamba.evaluation.predictions import encode
from damamba.inference import Detections

CLASSES = tuple(f'thing {i}' for i in range(80))


def detections(masks, scores, labels=None, classes=('ball', 'gear'), **more) -> Detections:
    """Of masks [N, H, W], with the boxes around them."""
    import torch

    masks, boxes = np.asarray(masks, bool), []
    for mask in masks:
        rows, columns = np.nonzero(mask) if mask.any() else ([0], [0])
        boxes.append((min(columns), min(rows), max(columns) + 1, max(rows) + 1))
    labels = np.zeros(len(masks), np.int64) if labels is None else np.array(labels)
    picture = np.full((*masks.shape[1:], 3), 90, np.uint8)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), labels, classes,
        encode(torch.from_numpy(masks)), masks.shape[1:], **{'name': 'a.jpg', 'picture': picture, **more},
    )  # fmt: skip
