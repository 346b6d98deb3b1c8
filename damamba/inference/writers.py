"""What writes one kind of results each: add() for every picture, close() at the end."""

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from damamba.datasets.outlines import shares
from damamba.engine.config_checks import ConfigError
from damamba.evaluation.coco_ap import FIELDS
from damamba.inference.detections import Detections
from damamba.inference.naming import Ids, Names, file_name_of
from damamba.inference.polygons import outline_of, yolo_lines
from damamba.inference.whole_files import write_whole

logger = logging.getLogger('damamba.inference')
LOSSLESS = {'.bmp', '.png', '.tif', '.tiff'}  # of such pictures the drawn ones are PNGs, of others JPEGs
FPS = 25.0  # of a video that does not say it, or wrongly
SLOWEST, FASTEST = 0.1, 1000.0  # streams say 90000, which MPEG 4 can't


class JsonList:
    """A JSON list that is written bit by bit, in a file that is there once it is whole."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)  # an earlier run's
        self.path, self._beside, self._between = path, path.with_name(f'.{path.name}.part'), '['
        self._file = self._beside.open('w', encoding='utf-8')

    def extend(self, entries: Sequence[dict]) -> None:
        for entry in entries:
            self._file.write(f'{self._between}\n{json.dumps(entry)}')
            self._between = ','

    def close(self, is_whole: bool) -> None:
        self._file.write(']\n' if self._between == ',' else '[]\n')
        self._file.close()
        if is_whole:
            os.replace(self._beside, self.path)
        else:
            self._beside.unlink()


class Writer:
    """Writes nothing yet.

    Args:
        folder: of all results.
        score: the least of what is drawn, cut out or outlined.
        ids: shared by all writers of a folder.
    """

    def __init__(self, folder: Path, score: float, ids: Ids) -> None:
        self.folder, self.score, self.ids = folder, score, ids

    def add(self, found: Detections, name: str) -> None:
        """Write what was found in a picture, under this name."""

    def close(self, is_whole: bool) -> None:
        """Finish; files that are not whole go."""


class Coco(Writer):
    """All detections, as COCO results; which picture has which number, and the categories, in COCO's way too."""

    def __init__(self, folder: Path, score: float, ids: Ids) -> None:
        super().__init__(folder, score, ids)
        self._classes: tuple[str, ...] = ()
        for kind in (*FIELDS, 'images'):
            self._path(kind).unlink(missing_ok=True)
        self._lists: dict[str, JsonList] = {'bbox': JsonList(self._path('bbox'))}

    def _path(self, kind: str) -> Path:
        return self.folder / f'predictions.{kind}.json'

    def add(self, found: Detections, name: str) -> None:
        self._classes = found.classes
        for kind, entries in found.to_coco(self.ids.of_picture(found), self.ids.of_classes(found.classes)).items():
            if kind not in self._lists:
                self._lists[kind] = JsonList(self._path(kind))
            self._lists[kind].extend(entries)

    def close(self, is_whole: bool) -> None:
        for it in self._lists.values():
            it.close(is_whole)
        if is_whole:
            numbers = zip(self.ids.of_classes(self._classes), self._classes, strict=True)
            categories = [{'id': number, 'name': name} for number, name in numbers]
            content = {'images': [*self.ids.images.values()], 'categories': categories}
            write_whole(self._path('images'), json.dumps(content).encode())


class Overlays(Writer):
    """Pictures with the detections drawn in; the frames of a video become a video."""

    def __init__(self, folder: Path, score: float, ids: Ids) -> None:
        super().__init__(folder, score, ids)
        self._videos, self._video, self._source = Names(), None, None

    def add(self, found: Detections, name: str) -> None:
        if found.frame is not None:
            self._add_frame(found)
            return
        ending = '.png' if Path(found.name).suffix.lower() in LOSSLESS else '.jpg'
        path = self.folder / 'overlays' / f'{name}{ending}'
        write_whole(path, cv2.imencode(ending, found.draw(self.score))[1].tobytes())

    def _add_frame(self, found: Detections) -> None:
        source = str(Path(found.name).parent)
        if self._video is None or found.frame == 0 or source != self._source:
            self.close(True)
            self._begin(source, found)
        self._video.write(found.draw(self.score))

    def _begin(self, source: str, found: Detections) -> None:
        self._source, self._path = source, self.folder / 'overlays' / f'{self._videos.claim(source)}.mp4'
        self._part = self._path.with_name(f'.{os.getpid()}.part.mp4')
        self._part.parent.mkdir(parents=True, exist_ok=True)
        fps = found.fps if found.fps and SLOWEST <= found.fps <= FASTEST else FPS
        self._video = cv2.VideoWriter(str(self._part), cv2.VideoWriter_fourcc(*'mp4v'), fps, found.size[::-1])
        if not self._video.isOpened():
            logger.warning(f'{self._path} can not be written: a video of {found.size[1]} x {found.size[0]} pixels')

    def close(self, is_whole: bool) -> None:
        if self._video is not None:
            self._video.release()
            if is_whole and self._part.is_file():
                os.replace(self._part, self._path)
            else:
                self._part.unlink(missing_ok=True)
        self._video = None


class Masks(Writer):
    """A PNG for each mask, 255 where the object is, named by its place, from the best on, and its class."""

    def add(self, found: Detections, name: str) -> None:
        if found.rles is None:
            raise ConfigError('masks can not be written: this detector finds boxes alone')
        folder, chosen = self.folder / 'masks' / name, found.above(self.score)
        for path in folder.glob('[0-9]*_*.png'):
            path.unlink()  # an earlier run's
        for place, label in enumerate(chosen.names):
            content = cv2.imencode('.png', chosen.mask(place).astype(np.uint8) * 255)[1].tobytes()
            write_whole(folder / f'{place:03d}_{file_name_of(label)}.png', content)


class Yolo(Writer):
    """A text for each picture, and the names of the classes."""

    _classes: tuple[str, ...] = ()  # that were written

    def add(self, found: Detections, name: str) -> None:
        if found.classes != self._classes:
            self._classes = found.classes
            write_whole(self.folder / 'yolo' / 'classes.txt', ''.join(f'{it}\n' for it in found.classes).encode())
        write_whole(self.folder / 'yolo' / f'{name}.txt', ''.join(yolo_lines(found.above(self.score))).encode())


class LabelStudio(Writer):
    """Tasks with polygons as predictions. The picture's path has to be one that Label Studio serves."""

    def __init__(self, folder: Path, score: float, ids: Ids) -> None:
        super().__init__(folder, score, ids)
        self._tasks = JsonList(folder / 'label-studio.json')

    def add(self, found: Detections, name: str) -> None:
        chosen = found.above(self.score)
        results = [self._result(chosen, place) for place in range(len(chosen))]
        score = float(chosen.scores.mean()) if len(chosen) else 0.0
        made = {'model_version': 'damamba', 'score': score, 'result': [it for it in results if it]}
        self._tasks.extend([{'data': {'image': found.path or found.name}, 'predictions': [made]}])

    @staticmethod
    def _result(found: Detections, place: int) -> dict | None:
        outline = outline_of(found, place)
        if outline is None:
            return None
        points = (100 * shares(outline, found.size)).round(4).tolist()  # percent
        return {
            'id': f'{place:03d}',
            'type': 'polygonlabels',
            'from_name': 'label',
            'to_name': 'image',
            'original_width': found.size[1],
            'original_height': found.size[0],
            'image_rotation': 0,
            'score': float(found.scores[place]),
            'value': {'points': points, 'closed': True, 'polygonlabels': [found.names[place]]},
        }

    def close(self, is_whole: bool) -> None:
        self._tasks.close(is_whole)


WRITERS = {'overlays': Overlays, 'coco': Coco, 'masks': Masks, 'yolo': Yolo, 'label-studio': LabelStudio}
