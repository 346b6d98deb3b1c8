"""What pictures and classes are called in results: names that no two pictures share, COCO's numbers."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path, PurePath

from damamba.inference.detections import Detections

COCO_CLASSES = 80
COCO_GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}  # of COCO's category ids, 1 to 90: these have no category


class Names:
    """Names without their endings: ``a.jpg`` and ``a.png`` get different ones, also where case does not count."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def claim(self, name: str) -> str:
        """A free name, relative, without an ending, with nothing in it that leads out of a folder."""
        path = PurePath(name)
        parts = [part for part in path.with_suffix('').parts if part not in ('..', '/')] or ['picture']
        wanted = '/'.join(parts)
        names = (wanted if number == 1 else f'{wanted}_{number}' for number in count(1))
        found = next(it for it in names if it.casefold() not in self._taken)
        self._taken.add(found.casefold())
        return found


def file_name_of(name: str) -> str:
    """A class's name as a part of a file's."""
    return re.sub(r'[^\w.-]+', '_', name)


class Ids:
    """The numbers of pictures and of categories in COCO results: those of annotations, or such as COCO has.

    Attributes:
        images: what was numbered: COCO's entries, by id.
    """

    def __init__(self, annotations: dict | None = None) -> None:
        self.images: dict[int, dict] = {}
        entries = (annotations or {}).get('images', [])
        self._by_path = {entry['file_name']: entry['id'] for entry in entries}
        names = Counter(PurePath(path).name for path in self._by_path)
        self._by_name = {
            PurePath(path).name: it for path, it in self._by_path.items() if names[PurePath(path).name] == 1
        }
        self._categories = {entry['name']: entry['id'] for entry in (annotations or {}).get('categories', [])}
        self._taken = {entry['id'] for entry in entries}

    def of_picture(self, found: Detections) -> int:
        """The id of a picture, which is noted; each call gives another one."""
        stem = Path(found.name).stem
        known = self._known(found)
        wanted = int(stem) if stem.isdecimal() and found.frame is None else 1
        free = (number for number in count(wanted) if number not in self._taken and number not in self.images)
        chosen = known if known is not None and known not in self.images else next(free)
        height, width = found.size
        self.images[chosen] = {'id': chosen, 'file_name': found.name, 'width': width, 'height': height}
        return chosen

    def _known(self, found: Detections) -> int | None:
        parts = PurePath(found.path or found.name).parts
        tails = ('/'.join(parts[start:]) for start in range(len(parts)))
        exact = next((self._by_path[tail] for tail in tails if tail in self._by_path), None)
        return self._by_name.get(parts[-1]) if exact is None and parts else exact

    def of_classes(self, classes: Sequence[str]) -> list[int]:
        """The category of each class."""
        if self._categories.keys() >= {*classes}:
            return [self._categories[name] for name in classes]
        if len(classes) == COCO_CLASSES and classes[0] == 'person' and classes[-1] == 'toothbrush':
            return [number for number in range(1, COCO_CLASSES + len(COCO_GAPS) + 1) if number not in COCO_GAPS]
        return [*range(1, len(classes) + 1)]
