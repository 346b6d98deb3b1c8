"""What is found in a picture: boxes, masks, scores, classes, in the picture's own pixels."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from pycocotools import mask as rle

from damamba.evaluation.predictions import coco_results
from damamba.inference.polygons import yolo_lines
from damamba.inference.whole_files import write_whole
from damamba.picking import CONTAINERS, PickPoint, pick_points
from damamba.tables import Table

if TYPE_CHECKING:
    import pandas
    import supervision

SHOWN = 10  # rows of a printed table
DRAWN = 0.3  # the score from which on detections are drawn


@dataclass(frozen=True, eq=False)
class Detections:
    """The N objects found in a picture, the best first. Arrays are NumPy's.

    Attributes:
        boxes: [N, 4], float32: left, top, right, bottom in pixels.
        scores: [N], float32, from 0 to 1.
        labels: [N], int64: places in ``classes``.
        classes: the names of all classes that the detector knows.
        rles: N masks as COCO's compressed RLE; None of a detector that finds boxes alone.
        size: height and width of the picture.
        name: of the picture, relative, under which :class:`~damamba.inference.results.Results` puts what is found.
        path: of the file; None of an array.
        frame: of a video, from 0 on.
        fps: frames a second, of a video that says it.
        milliseconds: by step: ``read``, ``prepare`` (the config's pipeline), ``detect`` (the batch's, shared out) and
            ``encode`` (masks).
        picture: [H, W, 3], uint8, blue first.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    rles: list[dict] | None
    size: tuple[int, int]
    name: str = ''
    path: str | None = None
    frame: int | None = None
    fps: float | None = None
    milliseconds: dict[str, float] = field(default_factory=dict)
    picture: np.ndarray | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator['Detections']:
        return (self[place] for place in range(len(self)))

    def __getitem__(self, which: Any) -> 'Detections':
        """Some of them: by a number, a slice, numbers or an array of bool."""
        places = np.atleast_1d(np.arange(len(self))[which])
        rles = None if self.rles is None else [self.rles[place] for place in places]
        return replace(
            self, boxes=self.boxes[places], scores=self.scores[places], labels=self.labels[places], rles=rles
        )

    def above(self, score: float) -> 'Detections':
        """Those that score at least this much."""
        return self[self.scores >= score]

    @property
    def names(self) -> list[str]:
        """The class of each."""
        return [self.classes[label] for label in self.labels]

    @property
    def masks(self) -> np.ndarray | None:
        """[N, H, W], bool, decoded anew each time; None where there are no masks."""
        if self.rles is None:
            return None
        return np.array([rle.decode(it) for it in self.rles], dtype=bool).reshape(-1, *self.size)

    def mask(self, place: int) -> np.ndarray:
        """One mask [H, W], bool."""
        return rle.decode(self.rles[place]).astype(bool)

    def to_coco(self, image_id: int = 0, category_ids: Sequence[int] | None = None) -> dict[str, list[dict]]:
        """COCO results: ``{'bbox': [...], 'segm': [...]}``, the latter where there are masks.

        Args:
            category_ids: of each class; by default 1, 2, ... in the order of ``classes``.
        """
        masks = {} if self.rles is None else {'masks': self.rles}
        found = dict(img_id=image_id, bboxes=self.boxes, scores=self.scores, labels=self.labels, **masks)
        return coco_results([found], category_ids or range(1, 1 + len(self.classes)))

    def to_pandas(self) -> 'pandas.DataFrame':
        """A row each: name, class, score, left, top, right, bottom, area of the mask (or of the box) in pixels."""
        pandas = needed('pandas')
        boxes = dict(zip(('left', 'top', 'right', 'bottom'), self.boxes.T, strict=True))
        return pandas.DataFrame(
            {'name': self.name, 'class': self.names, 'score': self.scores, **boxes, 'area': self.areas}
        )

    @property
    def areas(self) -> np.ndarray:
        """[N], pixels of the masks, or of the boxes where there are none."""
        if self.rles is None:
            return (self.boxes[:, 2:] - self.boxes[:, :2]).prod(1)
        return np.array(rle.area(self.rles) if self.rles else [], dtype=float)

    def to_supervision(self) -> 'supervision.Detections':
        """With masks, where there are any, and ``class_name`` among its data."""
        sv = needed('supervision')
        data = {'class_name': np.array(self.names, dtype=str)}
        return sv.Detections(self.boxes, self.masks, self.scores, self.labels, data=data)

    def draw(self, score: float = DRAWN) -> np.ndarray:
        """The picture with what scores at least ``score`` drawn into it: [H, W, 3], uint8, blue first."""
        from damamba.inference.drawing import draw

        return draw(self.above(score), needed('supervision'))

    def pick_points(self, score: float = DRAWN, containers: Collection[str] = CONTAINERS) -> list[PickPoint]:
        """Where to grasp what scores at least ``score``, in the order of picking: :mod:`damamba.picking`.

        Args:
            containers: classes of what holds the objects, such as totes: they are not picked, and cover nothing.

        Raises:
            ValueError: the detector finds boxes alone.
        """
        if self.rles is None:
            raise ValueError('pick points need masks, and this detector finds boxes alone')
        found = self.above(score)
        return list(pick_points(found.rles, found.scores.tolist(), found.names, containers))

    def save(self, path: str | Path, score: float = DRAWN) -> Path:
        """Write a file, whole or not at all: a picture with what scores at least ``score``; ``.json``, COCO results of
        all; ``.txt``, YOLO's polygons of what scores at least ``score``.

        Raises:
            ValueError: the name has another ending.
        """
        path = Path(path)
        if path.suffix == '.json':
            content = json.dumps(self.to_coco()).encode()
        elif path.suffix == '.txt':
            content = ''.join(yolo_lines(self.above(score))).encode()
        elif cv2.haveImageWriter(path.name):
            content = cv2.imencode(path.suffix, self.draw(score))[1].tobytes()
        else:
            raise ValueError(f'{path}: wanted a name that ends in .json, .txt, or as a picture does, in .jpg or .png')
        write_whole(path, content)
        return path

    def __str__(self) -> str:
        height, width = self.size
        counts = ', '.join(f'{count} {name}' for name, count in Counter(self.above(DRAWN).names).most_common())
        below = len(self) - len(self.above(DRAWN))
        rest = f' and {below} below a score of {DRAWN}' if below else ''
        total = sum(self.milliseconds.values())
        title = f'{self.name or "picture"}, {width} x {height}: {counts or "nothing"}{rest}, {total:.0f} ms'
        rows = [
            (name, float(score), *(f'{value:.0f}' for value in (*box, area)))
            for name, score, box, area in zip(self.names, self.scores, self.boxes, self.areas, strict=True)
        ]
        headings = ['class', 'score', 'left', 'top', 'right', 'bottom', 'area']
        more = f'\n... and {len(self) - SHOWN} more' if len(self) > SHOWN else ''
        table = Table.of('', headings, rows[:SHOWN]).text()
        return f'{title}\n{table}{more}' if rows else title


def needed(package: str):
    """Import a package that detectors do without.

    Raises:
        ImportError: it is not installed; the text has the command.
    """
    import importlib

    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ImportError(f'this needs {package}: pip install {package}') from error
