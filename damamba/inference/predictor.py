"""A detector that is given pictures and gives back what is in them, one after the other."""

import difflib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmdet.registry import TRANSFORMS
from mmdet.utils import get_test_pipeline_cfg
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.device import get_device
from mmengine.structures import InstanceData

from damamba.engine.config_checks import ConfigError
from damamba.evaluation.predictions import encode
from damamba.inference.detections import Detections
from damamba.inference.detector import init_detector
from damamba.inference.pictures import Picture, PictureError, read_pictures
from damamba.inference.published import resolve
from damamba.types import is_of, name_of

logger = logging.getLogger('damamba.inference')


class Predictor:
    """Finds objects in pictures.

    ``Predictor('damamba-tiny-mask-rcnn-1x')('picture.jpg')`` is an iterator, also for one picture. The pictures go
    through the config's own test pipeline, so what is found is what the test command finds.

    Args:
        config: a config file, ours or MMDetection's, or the name of a published model; by default the demo's.
        checkpoint: a path or URL, read as data; by default the published model's, or the demo's.
        device: ``'auto'`` (a GPU where there is one), ``'cpu'``, ``'cuda:1'`` ...
        batch_size: pictures at a time.
        score_thr: what scores less is left out; by default nothing is.
        classes: names; objects of others are left out.
        top_k: so many of a picture at most, the best.
        max_side: larger pictures are made as small as this, in pixels, for the detector; what is found is still in
            pixels of the picture as it was given.
        order: of the colours of arrays, ``'bgr'`` or ``'rgb'``.
        fuse: fold batch normalisation into convolutions: faster, the same but for rounding.
        cfg_options: override the config.
        revision: of the repository of published weights.

    Attributes:
        config, checkpoint: what was taken.
        classes: the names of all classes that the detector knows.
        unreadable: pictures of the last call that could not be read, and why, by their names.

    Raises:
        ConfigError, CheckpointError: there is no such config or checkpoint, or they do not fit.
    """

    def __init__(
        self,
        config: str | Path | None = None,
        checkpoint: str | Path | None = None,
        device: str = 'auto',
        *,
        batch_size: int = 1,
        score_thr: float = 0.0,
        classes: Sequence[str] | None = None,
        top_k: int | None = None,
        max_side: int | None = None,
        order: str = 'bgr',
        fuse: bool = True,
        cfg_options: dict | None = None,
        revision: str = 'main',
    ) -> None:
        for name, value in dict(batch_size=batch_size, top_k=top_k, max_side=max_side).items():
            if value is not None and value < 1:
                raise ConfigError(f'{name} must be 1 or more, got {value}')
        self.config, self.checkpoint = resolve(config, checkpoint, revision)
        self.model = init_detector(self.config, self.checkpoint, usable_device(device), cfg_options, fuse)
        self.classes = tuple(self.model.dataset_meta['classes'])
        self.batch_size, self.score_thr, self.top_k, self.max_side = batch_size, score_thr, top_k, max_side
        self.order, self.unreadable = order, {}
        self._wanted = self._labels(classes)
        self._loader, self._pipeline = _pipeline_of(self.model.cfg)

    def _labels(self, names: Sequence[str] | None) -> set[int] | None:
        names = [names] if isinstance(names, str) else names
        for name in names or ():
            if name not in self.classes:
                near = difflib.get_close_matches(name, self.classes, 1)
                known = f'did you mean {near[0]}?' if near else f'it knows {", ".join(self.classes)}'
                raise ConfigError(f'{self.config} has no class {name!r}: {known}')
        return None if names is None else {self.classes.index(name) for name in names}

    def __call__(self, source: Any, skip_unreadable: bool | None = None) -> Iterator[Detections]:
        """Find objects in pictures, one :class:`Detections` each, in order; nothing is computed before it is asked for.

        Args:
            source: what :func:`~damamba.inference.pictures.read_pictures` takes: a path, folder, pattern, array, PIL
                picture, video, camera, stream, or several.
            skip_unreadable: report pictures that can't be read in ``unreadable`` and the log, and go on; by default
                unless ``source`` is a single path of a file.

        Raises:
            PictureError: there is nothing there; a picture can't be read, and is not to be skipped.
        """
        self.unreadable = {}
        if skip_unreadable is None:
            skip_unreadable = not (isinstance(source, str | os.PathLike) and os.path.isfile(source))
        pictures = read_pictures(source, self._load, self.order)
        readable = _readable(pictures, skip_unreadable, self.unreadable)
        return (found for batch in _batches(readable, self.batch_size) for found in self._detect(batch))

    def _load(self, path: str) -> np.ndarray:
        return self._loader({'img_path': path})['img']

    @torch.no_grad()
    def _detect(self, batch: list[Picture]) -> list[Detections]:
        start = time.perf_counter()
        fed = [_shrunk(picture.pixels, self.max_side) for picture in batch]
        prepared = [self._prepare(pixels, picture) for pixels, picture in zip(fed, batch, strict=True)]
        prepare = _per_picture(start, batch)
        start = time.perf_counter()
        inputs = {key: [it[key] for it in prepared] for key in ('inputs', 'data_samples')}
        found = [sample.pred_instances for sample in self.model.test_step(inputs)]
        if fed and torch.cuda.is_available():
            torch.cuda.synchronize()
        times = dict(prepare=prepare, detect=_per_picture(start, batch))
        return [self._detections(it, picture, times) for it, picture in zip(found, batch, strict=True)]

    def _prepare(self, pixels: np.ndarray, picture: Picture) -> dict:
        size = pixels.shape[:2]
        pixels = pixels.astype(np.float32) if self._loader.to_float32 else pixels
        return self._pipeline(dict(img=pixels, img_path=picture.path, img_id=0, img_shape=size, ori_shape=size))

    def _detections(self, found: InstanceData, picture: Picture, times: dict[str, float]) -> Detections:
        start = time.perf_counter()
        scores, labels = found.scores.float().cpu().numpy(), found.labels.cpu().numpy()
        chosen = self._chosen(scores, labels)
        size = picture.pixels.shape[:2]
        boxes = found.bboxes.float().cpu().numpy()[chosen].reshape(-1, 4)
        height, width = _shrunk_size(size, self.max_side)
        if (height, width) != size:
            boxes = boxes * np.array([size[1] / width, size[0] / height] * 2, np.float32)
        rles = _encoded(found.masks, chosen, size) if 'masks' in found else None
        times = {'read': picture.milliseconds, **times, 'encode': _since(start)}
        return Detections(
            boxes, scores[chosen], labels[chosen], self.classes, rles, size,
            picture.name, picture.path, picture.frame, picture.fps, times, picture.pixels,
        )  # fmt: skip

    def _chosen(self, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The places of what is wanted, the best first; of equal scores in the detector's order."""
        places = np.argsort(-scores, kind='stable')
        wanted = scores[places] >= self.score_thr
        if self._wanted is not None:
            wanted &= np.isin(labels[places], list(self._wanted))
        return places[wanted][: self.top_k]

    def warm_up(self, size: tuple[int, int] = (480, 640)) -> None:
        """Detect in empty pictures of height and width ``size``, a batch: kernels are compiled, memory is taken."""
        for _ in self([np.zeros((*size, 3), np.uint8)] * self.batch_size):
            pass


def _readable(pictures: Iterator[Picture], skip: bool, unreadable: dict[str, str]) -> Iterator[Picture]:
    """Those that could be read; the others are noted in ``unreadable``, or raised."""
    for picture in pictures:
        if picture.problem is None:
            yield picture
            continue
        text = f'{picture.path or picture.name} can not be read: {picture.problem}'
        if not skip:
            raise PictureError(text)
        unreadable[picture.path or picture.name] = picture.problem
        logger.warning(text)


def _batches(pictures: Iterator[Picture], size: int) -> Iterator[list[Picture]]:
    """So many at a time; before an error what was read until then."""
    batch = []
    try:
        for picture in pictures:
            batch.append(picture)
            if len(batch) == size:
                yield batch
                batch = []
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def usable_device(device: str) -> str:
    """A device on which tensors can be made.

    Raises:
        ConfigError: there is no such device here.
    """
    device = get_device() if device == 'auto' else device
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = (str(error).splitlines() or [''])[0].rstrip('.')
        raise ConfigError(
            f'device {device!r} can not be used here ({reason}): auto takes a GPU where there is one'
        ) from error
    return device


def _pipeline_of(cfg: Config) -> tuple[LoadImageFromFile, Compose]:
    """What reads a file, and what comes after that, without annotations.

    Raises:
        ConfigError: the test pipeline begins with something else.
    """
    first, *rest = get_test_pipeline_cfg(cfg)
    loader = TRANSFORMS.build(first)
    if not isinstance(loader, LoadImageFromFile):
        raise ConfigError(f'the test pipeline begins with {name_of(first)}: wanted LoadImageFromFile')
    return loader, Compose([step for step in rest if not is_of(step, TRANSFORMS, LoadAnnotations)])


def _shrunk_size(size: tuple[int, int], longest: int | None) -> tuple[int, int]:
    factor = min(1.0, (longest or max(size)) / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _shrunk(pixels: np.ndarray, longest: int | None) -> np.ndarray:
    height, width = _shrunk_size(pixels.shape[:2], longest)
    if (height, width) == pixels.shape[:2]:
        return pixels
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def _encoded(masks: torch.Tensor, chosen: np.ndarray, size: tuple[int, int]) -> list[dict]:
    """masks [N, h, w] -> RLEs of those that are chosen, at the picture's own size."""
    masks = masks[torch.from_numpy(chosen).to(masks.device)]
    if masks.shape[1:] == size:
        return encode(masks)
    return [encode(_enlarged(mask, size)[None])[0] for mask in masks]  # one at a time


def _enlarged(mask: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    array = mask.cpu().numpy().astype(np.uint8)
    return torch.from_numpy(cv2.resize(array, size[::-1], interpolation=cv2.INTER_NEAREST))


def _since(start: float) -> float:
    return 1000 * (time.perf_counter() - start)


def _per_picture(start: float, batch: list[Picture]) -> float:
    return _since(start) / len(batch)
