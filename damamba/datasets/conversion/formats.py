"""The formats that are read, by name: how each is recognised, and its reader."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from damamba.datasets.conversion import coco, label_pngs, labelme, supervisely, voc, yolo
from damamba.datasets.conversion.labels import ConversionError
from damamba.datasets.conversion.reading import Reader

SBD = (
    'has .mat files of SBD in cls and inst, which are not read: save GTinst.Segmentation of each as a PNG in a folder '
    'masks, with GTinst.Categories in a class_map.csv'
)


class Format(NamedTuple):
    """How the labels of a tool are known and read."""

    title: str
    recognise: Callable[[Path], str | None]  # why a folder looks like it; None if it does not
    read: Reader


FORMATS = {
    'coco': Format(coco.TITLE, coco.recognise, coco.read),
    'label-png': Format(label_pngs.TITLE, label_pngs.recognise, label_pngs.read),
    'labelme': Format(labelme.TITLE, labelme.recognise, labelme.read),
    'supervisely': Format(supervisely.TITLE, supervisely.recognise, supervisely.read),
    'voc': Format(voc.TITLE, voc.recognise, voc.read),
    'yolo': Format(yolo.TITLE, yolo.recognise, yolo.read),
}


def recognise(folder: Path) -> tuple[str, str]:
    """The name of the format that a folder is in, and why.

    Raises:
        ConversionError: it looks like none, or like several.
    """
    found = {name: why for name, it in FORMATS.items() if (why := it.recognise(folder))}
    if not found and any(path.parent.name in ('cls', 'inst') for path in folder.rglob('*.mat')):
        raise ConversionError(f'{folder} {SBD}')
    if not found:
        titles = ', '.join(f'{it.title} ({name})' for name, it in FORMATS.items())
        raise ConversionError(f'{folder} looks like none of {titles}: say which with --from')
    if len(found) > 1:
        reasons = ' and '.join(f'{name} ({why})' for name, why in found.items())
        raise ConversionError(f'{folder} looks like {reasons}: say which with --from')
    return next(iter(found.items()))
