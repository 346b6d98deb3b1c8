"""What COCO evaluation measures: one object that is a table, a dictionary, and the flat names of a training log."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table

NAMES = {'bbox': 'box', 'segm': 'mask'}
AREAS = {'all': '', 'small': '_s', 'medium': '_m', 'large': '_l'}  # COCO's words, and their ends in names
UNDEFINED = -1.0  # COCO's value where there is no ground truth to find


class EvaluationError(ValueError):
    """What can't be evaluated as it was asked for; the text says why."""


@dataclass(frozen=True)
class Scores:
    """COCO's numbers for boxes or for masks, unrounded; -1 where there is no ground truth to find.

    ``values`` goes by MMDetection's names: ``mAP``, ``mAP_50``, ``mAP_75``, ``mAP_s``, ``mAP_m``, ``mAP_l``, and
    ``AR@k``, where k is the number of detections that counted, ``AR_s@k``, ``AR_m@k``, ``AR_l@k``. ``classes`` has
    average precision for each class by its name: ``mAP`` to ``mAP_l``.
    """

    values: dict[str, float]
    classes: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a data set: how much there was to find, and :class:`Scores` by kind, ``bbox`` or ``segm``."""

    images: int
    objects: int
    max_dets: tuple[int, ...]
    iou_thrs: tuple[float, ...]
    scores: dict[str, Scores]

    def to_dict(self) -> dict:
        """Plain values for a JSON file."""
        return asdict(self)

    def flat(self, classwise: bool = False, items: Sequence[str] | None = None) -> dict[str, float]:
        """``{'bbox_mAP': 0.485, ...}``, all or ``items`` alone; with ``classwise`` also ``'bbox_<class>_precision'``.

        Raises:
            EvaluationError: there is no such item; the text lists those that are there.
        """
        named = {}
        for kind, scores in self.scores.items():
            unknown = sorted(set(items or ()) - set(scores.values))
            if unknown:
                raise EvaluationError(
                    f'metric_items does not know {", ".join(unknown)}; it takes {", ".join(scores.values)}'
                )
            named |= {f'{kind}_{name}': scores.values[name] for name in items or scores.values}
            if classwise:
                named |= {f'{kind}_{name}_precision': values['mAP'] for name, values in scores.classes.items()}
        return named

    def table(self) -> str:
        """COCO's numbers, a line each, boxes beside masks."""
        table = _table(f'COCO, {self.images:,} images, {self.objects:,} objects', 'metric', 'IoU', 'area', 'detections')
        for kind in self.scores:
            table.add_column(NAMES[kind], justify='right')
        for name, iou, area, count in self._rows():
            figures = [scores.values.get(name) for scores in self.scores.values()]
            table.add_row(name, iou, area, count, *map(_shown, figures), end_section=name == 'mAP_l')
        return _text(table)

    def _rows(self) -> Iterator[tuple[str, str, str, str]]:
        """The name of each number, and the overlap, the objects and the number of detections that it is of."""
        most = str(self.max_dets[-1])
        names = next(iter(self.scores.values())).values
        every = _range(self.iou_thrs)
        overlaps = {'_50': '0.50', '_75': '0.75'}
        areas = {end: area for area, end in AREAS.items()}
        for name in names:
            if name.startswith('mAP'):
                end = name.removeprefix('mAP')
                yield name, overlaps.get(end, every), areas.get(end, 'all'), most
            else:
                end, count = name.removeprefix('AR').split('@')
                yield name, every, areas[end], count

    def class_table(self) -> str:
        """Average precision by class, boxes above masks."""
        return '\n\n'.join(_class_table(NAMES[kind], scores.classes) for kind, scores in self.scores.items())


def _class_table(kind: str, classes: dict[str, dict[str, float]]) -> str:
    table = _table(f'{kind.capitalize()} AP by class', 'class')
    for name in next(iter(classes.values()), {}):
        table.add_column(name, justify='right')
    for name, values in classes.items():
        table.add_row(name, *map(_shown, values.values()))
    return _text(table)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify='left', title_style='bold', pad_edge=False)
    for heading in headings:
        table.add_column(heading)
    return table


def _range(overlaps: tuple[float, ...]) -> str:
    """First and last, as COCO writes its ten; a few are listed."""
    ends = (overlaps[0], overlaps[-1]) if len(overlaps) > 3 else overlaps
    return (':' if len(overlaps) > 3 else ', ').join(f'{overlap:.2f}' for overlap in ends)


def _shown(value: float | None) -> str:
    return '-' if value is None or value == UNDEFINED else f'{value:.3f}'


def _text(table: Table) -> str:
    """Text as wide as the table needs, without colours: it goes into log files too."""
    console = Console(file=StringIO(), width=1000, color_system=None)
    console.print(table)
    return '\n'.join(line.rstrip() for line in console.file.getvalue().splitlines())
