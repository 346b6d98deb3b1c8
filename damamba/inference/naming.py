"""What pictures and classes are called in results: names that no two pictures share, COCO's numbers."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path, PurePath

from damamba.inference.detections import Detections

COCO_CLASSES = 80
WRITTEN = re.compile(r'\.(jpg|json|mp4|png|txt)$', re.IGNORECASE)  # the endings of results
COCO_GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}  # of COCO's category ids, 1 to 90: these have no category


class Names:
    """Names without their endings: ``a.jpg`` and ``a.png`` get different ones, also where case does not count.

    Args:
        taken: names that nothing gets.
    """

    def __init__(self, *taken: str) -> None:
        self._taken = {*taken}

    def claim(self, name: str) -> str:
        """A free name, relative, without an ending, with nothing in it that leads out of a folder.

        The folder ``clip.mp4``, of a video's frames, becomes ``clip_mp4``: no file that is written has its name.
        """
        *folders, last = [part for part in PurePath(name).parts if part.strip('/') not in ('', '..')] or ['picture']
        wanted = '/'.join([*(WRITTEN.sub(r'_\1', folder) for folder in folders), PurePath(last).stem])
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
        self._numbers = count(1)

    def of_picture(self, found: Detections) -> int:
        """The id of a picture, which is noted; each call gives another one."""
        stem = Path(found.name).stem
        own = [int(stem)] if stem.isdecimal() and found.frame is None else []
        free = (it for it in chain(own, self._numbers) if it not in self._taken and it not in self.images)
        known = self._known(found)
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
