"""The folder of a data set: which files an annotation may name, and which lie elsewhere and are not read."""

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.utils.data import Dataset


@dataclass(frozen=True)
class Folder:
    """Where pictures may lie.

    Args:
        root: the folder that their names must not lead out of.
        links: where links may lead, beside there; None if they may lead anywhere.
    """

    root: str
    links: tuple[str, ...] | None = ()
    _places: tuple[str, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, '_places', tuple(map(os.path.realpath, (self.root, *(self.links or ())))))

    def why_outside(self, path: str) -> str | None:
        """Why a picture is not read: its name, or a link, leads out of here; None if it may be read."""
        if not is_inside(os.path.abspath(path), os.path.abspath(self.root)):
            return f'its name leads out of the folder {self.root}: it is not read'
        try:
            real = os.path.realpath(path)
        except ValueError:  # a name that no file can have: who opens it will say so
            return None
        if self.links is None or any(is_inside(real, place) for place in self._places):
            return None
        return f'a link leads out of the folder {self.root} to it: follow_links=True of its data set allows that'


def folder_of(dataset: 'Dataset') -> Folder | None:
    """The folder of a data set; None where its config names none, so that its pictures may lie anywhere.

    That is its ``data_root``, or its pictures' own folder where that lies elsewhere. The two may be links.
    """
    prefixes = getattr(dataset, 'data_prefix', None) or {}
    prefix, root = prefixes.get('img') or prefixes.get('img_path'), getattr(dataset, 'data_root', None)
    if not prefix or '://' in prefix:
        return None
    has_root = root and is_inside(os.path.abspath(prefix), os.path.abspath(root))
    return Folder(root if has_root else prefix, None if getattr(dataset, 'follow_links', False) else (prefix,))


def is_inside(path: str, folder: str) -> bool:
    """Whether an absolute path lies in a folder, or is it, by their names."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
