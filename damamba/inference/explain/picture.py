"""A picture on its way into the model: read, through the config's own test pipeline, normalised and padded."""

from pathlib import Path
from typing import Any, NamedTuple

import cv2
import mmcv
import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.structures import DetDataSample
from mmdet.utils import get_test_pipeline_cfg
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from damamba.inference.explain.errors import ExplainError
from damamba.inference.explain.geometry import Geometry

IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))  # mean and deviation, red first


class Prepared(NamedTuple):
    """A picture as the model sees it."""

    inputs: Tensor  # [1, 3, h, w], normalised and padded
    geometry: Geometry
    batch: dict[str, Any] | None  # what a detector's test_step takes


def read_picture(picture: str | Path | np.ndarray) -> np.ndarray:
    """A file, turned as its EXIF entry says, or an array: [H, W, 3], uint8, blue first.

    Raises:
        ExplainError: there is no such file, it is no picture, or the array is of another kind.
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            raise ExplainError(f'a picture is [H, W, 3] of uint8, not {list(picture.shape)} of {picture.dtype}')
        return picture
    try:
        read = mmcv.imfrombytes(Path(picture).read_bytes())
    except (OSError, cv2.error) as error:
        why = getattr(error, 'strerror', None) or 'it is empty'
        raise ExplainError(f'{picture} can not be read as a picture: {why}') from error
    if read is None:
        raise ExplainError(
            f'{picture} can not be read as a picture: it is broken, or of a kind that OpenCV does not know'
        )
    return read


def prepare(model: nn.Module, picture: np.ndarray) -> Prepared:
    """Feed a picture [H, W, 3], blue first, as a test of the model would.

    A detector's config says how; what is no detector gets the pixels as they are, normalised by ImageNet's colours.
    """
    if not hasattr(model, 'backbone'):
        return _prepare_plain(model, picture)
    if not hasattr(model, 'cfg'):
        raise ExplainError('the detector carries no config: load it by damamba.inference.init_detector')
    packed = _through_pipeline(model.cfg, picture)
    batch = dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']])
    inputs = model.data_preprocessor(batch, False)['inputs']
    return Prepared(inputs, Geometry(picture.shape[:2], _seen(packed, picture.shape[:2])), batch)


def _seen(packed: dict[str, Any], size: tuple[int, int]) -> tuple[int, int]:
    """Height and width that the pipeline gave a picture, before it padded it."""
    factors = packed['data_samples'].metainfo.get('scale_factor')
    if factors is None and tuple(packed['inputs'].shape[1:]) != size:
        raise ExplainError("the test pipeline's PackDetInputs drops scale_factor: add it to its meta_keys")
    across, down = factors[:2] if factors is not None else (1, 1)
    return round(size[0] * down), round(size[1] * across)


def _through_pipeline(cfg: Any, picture: np.ndarray) -> dict[str, Any]:
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    steps = list(get_test_pipeline_cfg(cfg.copy()))
    packed = Compose([dict(type='mmdet.LoadImageFromNDArray'), *steps[1:]])(dict(img=picture, img_id=0))
    if not isinstance(packed.get('inputs'), torch.Tensor) or not isinstance(packed['data_samples'], DetDataSample):
        raise ExplainError('the test pipeline makes several pictures of one (test-time augmentation): take another one')
    return packed


def _prepare_plain(backbone: nn.Module, picture: np.ndarray) -> Prepared:
    weight = next(backbone.parameters())
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in IMAGENET)
    pixels = torch.from_numpy(np.ascontiguousarray(picture[..., ::-1])).permute(2, 0, 1)
    inputs = ((pixels - mean) / deviation)[None].to(weight)
    return Prepared(inputs, Geometry(picture.shape[:2], picture.shape[:2]), None)
