"""The files of what was found in many pictures, each of them whole or not there: a folder that other tools read."""

from collections.abc import Collection
from pathlib import Path
from types import TracebackType

from damamba.inference.detections import DRAWN, Detections
from damamba.inference.naming import Ids, Names
from damamba.inference.writers import WRITERS


class Results:
    """Writes what is found in pictures, one after the other, into a folder; to be used in a ``with``.

    | kind | files |
    |---|---|
    | ``overlays`` | ``overlays/NAME``: the picture with what scores ``score`` or more drawn in; of a video a video |
    | ``coco`` | ``predictions.bbox.json``, ``predictions.segm.json``: all detections, as COCO results |
    | ``masks`` | ``masks/NAME/000_CLASS.png``: a mask each of what scores ``score`` or more, white on black |
    | ``yolo`` | ``yolo/NAME.txt``, polygons in shares of the picture, and ``yolo/classes.txt`` |
    | ``label-studio`` | ``label-studio.json``: tasks with predictions, to be imported |

    A picture's NAME has the folders that tell it apart, and a number where that is not enough. Files of an earlier run
    that would be mistaken for this one's are removed first.

    Args:
        kinds: which of them.
        annotations: COCO annotations, whose ids of pictures (by file name) and of categories (by name) the results
            take. Otherwise a picture's id is the number that its name is, or one that is free, and categories count
            from 1; COCO's 80 classes have COCO's ids. ``predictions.images.json`` says which picture has which.
        score: the least of what is drawn, cut out or outlined.
    """

    def __init__(
        self,
        folder: str | Path,
        kinds: Collection[str] = ('overlays', 'coco'),
        annotations: dict | None = None,
        score: float = DRAWN,
    ) -> None:
        unknown = set(kinds) - WRITERS.keys()
        if unknown:
            raise ValueError(f'no kind of results: {", ".join(sorted(unknown))}; there are {", ".join(WRITERS)}')
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._names, ids = Names('classes'), Ids(annotations)  # yolo/classes.txt is there already
        self._writers = [WRITERS[kind](self.folder, score, ids) for kind in dict.fromkeys(kinds)]

    def add(self, found: Detections) -> None:
        """Write what was found in one picture."""
        name = self._names.claim(found.name)
        for writer in self._writers:
            writer.add(found, name)

    def __enter__(self) -> 'Results':
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish what is written bit by bit; after an error there is no such file."""
        for writer in self._writers:
            writer.close(kind is None)
