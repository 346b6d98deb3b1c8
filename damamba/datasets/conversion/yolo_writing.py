"""Write YOLO: ``data.yaml``, ``images/<split>`` and ``labels/<split>``, a line an object.

A line has room for one outline: several parts, and holes, are joined by lines that are walked there and back, which
enclose nothing. There are no crowds in YOLO: they are left out.
"""

from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import yaml
from pycocotools import mask as coco_mask

from damamba.datasets.conversion import yolo
from damamba.datasets.conversion.checks import checked_pictures
from damamba.datasets.conversion.counting import Tally
from damamba.datasets.conversion.geometry import draw, overlap
from damamba.datasets.conversion.labels import ConversionError, LabelledObject, LabelledPicture, Part
from damamba.datasets.conversion.placing import place
from damamba.datasets.conversion.reading import Reading
from damamba.datasets.outlines import in_one, outlines_of

DIGITS = 6  # of shares; a thousandth of a pixel
ONE_SPLIT = (
    'data.yaml names the same pictures for train and for val, which Ultralytics asks for: split-data makes parts of a '
    'set in the format of COCO'
)


class YoloWriter:
    """Takes picture after picture, and names classes and splits at the end."""

    boxes = False  # write boxes, whatever else there is

    def __init__(self, folder: Path, reading: Reading, copy: bool) -> None:
        self.folder, self.reading, self.copy = folder, reading, copy
        self.splits: dict[str, str] = {}
        self.stems: Counter = Counter()

    def add(self, picture: LabelledPicture) -> None:
        """Put a picture into the folder of its split, and its labels beside that."""
        place_in = place_of(picture)
        self.splits.setdefault(picture.split, f'images/{place_in.parts[0]}')
        stem = place_in.with_suffix('')
        self.stems[stem] += 1
        if self.stems[stem] > 1:
            raise ConversionError(f'two pictures are called {stem}, and would share their labels: rename one')
        for it in picture.objects:
            if it.is_crowd:
                self.reading.drop(it, 'YOLO has no crowds')
        lines = [self._line(it, picture) for it in picture.objects if not it.is_crowd]
        labels = self.folder / 'labels' / f'{stem}.txt'
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text(''.join(f'{line}\n' for line in lines), encoding='ascii')
        place(picture.path, self.folder / 'images' / place_in, self.copy)

    def _line(self, it: LabelledObject, picture: LabelledPicture) -> str:
        values = self._outline(it, picture) if not self.boxes else None
        if values is None:
            x, y, width, height = box_of(it)
            values = np.array([[x + width / 2, y + height / 2], [width, height]])
        numbers = ' '.join(f'{value:.{DIGITS}f}' for value in (values / picture.size).ravel())
        return f'{self.reading.wanted.index(it.category)} {numbers}'

    def _outline(self, it: LabelledObject, picture: LabelledPicture) -> np.ndarray | None:
        """The outline [N, 2] of an object; None of a box alone."""
        parts = it.parts
        if it.mask is not None:
            parts = [Part(*found) for found in outlines_of(coco_mask.decode(dict(it.mask)))]
        elif overlap(parts, picture.size):  # filled by the even-odd rule, what two parts have in common would be a hole
            parts = [Part(*found) for found in outlines_of(draw(parts, picture.size))]
        return in_one([ring for part in parts for ring in (part.outline, *part.holes)]) if parts else None

    def finish(self) -> Tally:
        """Write ``data.yaml``; return what is there, read again."""
        names = dict(enumerate(self.reading.wanted))
        settings = self._settings()
        text = yaml.safe_dump({**settings, 'names': names}, sort_keys=False, allow_unicode=True)
        (self.folder / 'data.yaml').write_text(text, encoding='utf-8')
        again = Reading(self.folder)
        for _ in checked_pictures(again, yolo.read):
            pass
        return again.met

    def _settings(self) -> dict[str, str | list[str]]:
        """Where the pictures of each split lie; Ultralytics asks for ``train``, all but val and test, and ``val``."""
        known = {split: self.splits[split] for split in ('val', 'test') if split in self.splits}
        train = [place for split, place in self.splits.items() if split not in known] or [next(iter(known.values()))]
        if not known or train[0] in known.values():
            self.reading.notes.append(ONE_SPLIT)
        train = train if len(train) > 1 else train[0]
        return {'train': train, 'val': known.get('val', known.get('test', train)), **known}


class YoloBoxWriter(YoloWriter):
    """Writes the box of each object."""

    boxes = True


def place_of(picture: LabelledPicture) -> PurePosixPath:
    """Where a picture lies below ``images``, of which no step is called so: its labels lie where the last one is."""
    steps = PurePosixPath(picture.split if picture.split != 'images' else 'all', picture.name).parts
    return PurePosixPath(*(step for step in steps[:-1] if step != 'images'), steps[-1])


def box_of(it: LabelledObject) -> tuple[float, float, float, float]:
    """The box around an object."""
    if it.box is not None:
        return it.box
    if it.mask is not None:
        return tuple(coco_mask.toBbox(dict(it.mask)).tolist())
    points = np.concatenate([part.outline for part in it.parts])
    return (*points.min(0).tolist(), *np.ptp(points, 0).tolist())
