"""What the data set of a config feeds the model, picture by picture, as plain arrays: to look at."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch.utils.data import Dataset

from damamba.engine.config_checks import ConfigError


@dataclass(frozen=True)
class Sample:
    """A picture after the pipeline, and the objects in it. Those that MMDetection ignores, crowds say, come last."""

    path: str
    original: tuple[int, int]  # height, width of the file
    picture: np.ndarray  # [H, W, 3], uint8, blue first
    boxes: np.ndarray  # [N, 4], left, top, right, bottom in pixels of the picture
    labels: list[int]
    names: list[str]
    ignored: int  # how many of them
    masks: list[np.ndarray] | None  # N of [H, W]; None where the pipeline loads none

    @property
    def objects(self) -> int:
        return len(self.labels) - self.ignored


def draw_samples(cfg: Config, split: str, count: int, seed: int) -> Iterator[Sample]:
    """Feed ``count`` pictures of a split, drawn with ``seed``, through the pipeline.

    Raises:
        ConfigError: the config has no such split, or nothing is left of its pictures.
    """
    loader = cfg.get(f'{split}_dataloader')
    if not loader:
        raise ConfigError(f'{cfg.filename} has no {split}_dataloader')
    dataset = _build(loader.dataset, split)
    is_late = _loads_late(dataset)
    names = dataset.metainfo.get('classes', ())
    is_rgb = bool((cfg.get('model') or {}).get('data_preprocessor', {}).get('rgb_to_bgr'))
    chosen = np.random.default_rng(seed).permutation(len(dataset))[:count]
    for index in sorted(chosen.tolist()):
        _seed(seed + index)  # a picture's augmentation does not depend on how many are drawn
        yield _sample(_feed(dataset, index), names, is_rgb, is_late)


def _build(settings: dict, split: str) -> Dataset:
    try:
        return DATASETS.build(settings)
    except ValueError as error:
        if 'need at least one array' not in str(error):  # of the pictures that are left
            raise
        raise ConfigError(f'no picture is left of {split}_dataloader: none has an object of its classes') from error


def _feed(dataset: Dataset, index: int) -> dict:
    try:
        return dataset[index]
    except (OSError, KeyError, AssertionError) as error:  # a missing or broken file; an object without a mask, say
        text = f'picture {index} can not be fed ({type(error).__name__}: {error}): tools/check_dataset.py names such'
        raise ConfigError(text) from error


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _sample(packed: dict, names: tuple[str, ...], is_rgb: bool, is_late: bool) -> Sample:
    """Unpack what PackDetInputs made.

    Args:
        packed: inputs [3, H, W] and data_samples.
        names: of the classes.
        is_rgb: the data preprocessor expects red first.
        is_late: annotations were loaded after the picture was resized, as MMDetection does for tests.
    """
    inputs, found = packed['inputs'], packed['data_samples']
    picture = _picture(inputs, is_rgb)
    original = tuple(found.metainfo.get('ori_shape', picture.shape[:2]))
    across, down = found.metainfo.get('scale_factor', (1.0, 1.0)) if is_late else (1.0, 1.0)
    groups = [found.get(name) for name in ('gt_instances', 'ignored_instances') if name in found]
    groups = [group for group in groups if len(group)]
    labels = [int(label) for group in groups for label in group.labels]
    return Sample(
        path=found.metainfo.get('img_path', ''),
        original=original,
        picture=picture,
        boxes=np.concatenate([np.zeros((0, 4)), *map(_boxes, groups)]) * (across, down, across, down),
        labels=labels,
        names=[names[label] if label < len(names) else str(label) for label in labels],
        ignored=len(found.get('ignored_instances', ())),
        masks=_masks(groups, picture.shape[:2], across, down),
    )


def _picture(inputs, is_rgb: bool) -> np.ndarray:
    if not isinstance(inputs, torch.Tensor):
        raise ConfigError('the pipeline makes several pictures of one (test-time augmentation): take another split')
    picture = inputs.permute(1, 2, 0).float().round().clamp(0, 255).to(torch.uint8).numpy()
    return np.ascontiguousarray(picture[..., ::-1] if is_rgb else picture)


def _boxes(group: InstanceData) -> np.ndarray:
    boxes = group.bboxes
    return np.asarray(getattr(boxes, 'tensor', boxes), dtype=float).reshape(-1, 4)


def _masks(groups: list[InstanceData], shape: tuple[int, int], across: float, down: float) -> list[np.ndarray] | None:
    """In pixels of the picture: what is padded at its right and its bottom has no mask."""
    if not groups or not all('masks' in group for group in groups):
        return None
    masks = []
    for mask in (mask for group in groups for mask in group.masks.to_ndarray()):
        size = (round(mask.shape[1] * across), round(mask.shape[0] * down))
        resized = cv2.resize(mask, size)[: shape[0], : shape[1]]
        rest = [(0, whole - part) for whole, part in zip(shape, resized.shape, strict=True)]
        masks.append(np.pad(resized, rest).astype(np.uint8))
    return masks


def _loads_late(dataset: Dataset) -> bool:
    """Whether the innermost data set's pipeline resizes first, and loads annotations after that."""
    while hasattr(dataset, 'dataset') or hasattr(dataset, 'datasets'):
        dataset = dataset.dataset if hasattr(dataset, 'dataset') else dataset.datasets[0]
    names = [type(transform).__name__ for transform in dataset.pipeline.transforms]
    loading = [place for place, name in enumerate(names) if name.endswith('LoadAnnotations')]
    resizing = [place for place, name in enumerate(names) if 'Resize' in name]
    return bool(loading and resizing and resizing[0] < loading[0])
