"""A table of a report, which becomes CSV with every digit, and Markdown, HTML and text with few."""

import csv
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO

from rich.text import Text as Plain

from damamba.evaluation import tables
from damamba.evaluation.tables import UNDEFINED, number

Value = float | int | str | None

NUMBER = re.compile(r'-?\d+(\.\d+)?')
MARKDOWN_SIGNS = re.compile(r'([\\`*_{}\[\]<>|#~$])')


def is_figure(value: Value) -> bool:
    """Whether something was measured: neither nothing, nor COCO's -1, nor NaN, which a file of figures may have."""
    return isinstance(value, (int, float)) and math.isfinite(value) and value != UNDEFINED


def plain(value: Value) -> str:
    """As it is; ``-`` where there is none."""
    return '-' if value is None else str(value)


def millions(value: int | None) -> str:
    return '-' if value is None else f'{value / 1e6:.1f} M'


def gigabytes(value: int | None) -> str:
    return '-' if value is None else f'{value / 1e9:.2f} GB'


def shown(value: Value) -> str:
    """Texts as they are, counts whole, fractions with three digits, ``-`` where there is nothing to show."""
    return plain(value) if isinstance(value, str) else number(value)


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: its name in rows and in CSV.
        heading: what stands above it elsewhere; by default the key.
        group: what stands above the headings of several columns that belong together.
        better: ``high`` or ``low``: which of its values is marked as the best.
        form: a value as readers see it.
        hidden: in CSV alone.
    """

    key: str
    heading: str = ''
    group: str = ''
    better: str | None = None
    form: Callable[[Value], str] = shown
    hidden: bool = False

    @property
    def title(self) -> str:
        return self.heading or self.key


@dataclass(frozen=True)
class Cell:
    """A value beside its text; ``best`` marks it."""

    key: str
    value: Value
    text: str
    best: bool = False

    @property
    def is_number(self) -> bool:
        return isinstance(self.value, (int, float))

    @property
    def exact(self) -> str:
        """Every digit."""
        return exact(self.value)


@dataclass(frozen=True)
class Sheet:
    """A table. ``name`` is that of its CSV file, which several sheets may share; rows go by the columns' keys."""

    name: str
    title: str
    columns: Sequence[Column]
    rows: list[Mapping[str, Value]] = field(default_factory=list)
    note: str = ''

    @property
    def visible(self) -> list[Column]:
        return [column for column in self.columns if not column.hidden]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """What stands above how many columns, from left to right; empty if nothing does."""
        spans: list[tuple[str, int]] = []
        for column in self.visible:
            if spans and column.group and spans[-1][0] == column.group:
                spans[-1] = (column.group, spans[-1][1] + 1)
            else:
                spans.append((column.group, 1))
        return spans if any(group for group, _ in spans) else []

    @property
    def numeric(self) -> set[str]:
        """The keys of the columns that have numbers, some as texts with the digits that were published."""
        columns = zip(*self.cells(), strict=True)
        shown = {cells[0].key: [cell for cell in cells if cell.text != '-'] for cells in columns}
        return {key for key, cells in list(shown.items())[1:] if cells and all(map(_reads_as_number, cells))}

    def cells(self) -> list[list[Cell]]:
        """The rows as they are shown, with the best of each column marked where there are several to choose from."""
        best = {column.key: self._best(column) for column in self.visible}
        return [[_cell(column, row.get(column.key), best[column.key]) for column in self.visible] for row in self.rows]

    def _best(self, column: Column) -> float | None:
        values = [row.get(column.key) for row in self.rows]
        values = [value for value in values if is_figure(value)]
        if column.better is None or len(set(values)) < 2:  # of equal ones none is the best
            return None
        return max(values) if column.better == 'high' else min(values)

    def markdown(self) -> str:
        """A table of Markdown; the best values are bold."""
        headings = [f'{column.group}: {column.title}' if column.group else column.title for column in self.visible]
        rules = ['---:' if column.key in self.numeric else '---' for column in self.visible]
        rows = [[_bold(cell) for cell in cells] for cells in self.cells()]
        return '\n'.join(f'| {" | ".join(cells)} |' for cells in ([*map(as_markdown, headings)], rules, *rows))

    def text(self) -> str:
        """As a terminal shows it."""
        table = tables.start(self.title)
        for column in self.visible:
            heading = '\n'.join([*filter(None, column.group.split(', ')), column.title])
            table.add_column(heading, justify='left' if column is self.visible[0] else 'right')
        for cells in self.cells():
            table.add_row(*(Plain(f'{cell.text} *' if cell.best else cell.text) for cell in cells))
        return tables.text(table)


def as_markdown(text: str) -> str:
    """Text that a reader of Markdown sees as it is, on one line."""
    return MARKDOWN_SIGNS.sub(r'\\\1', ' '.join(text.split()))


def exact(value: Value) -> str:
    """Every digit, so that the same number is read again; nothing where there is none."""
    if value is None:
        return ''
    return repr(value) if isinstance(value, float) else str(value)


def csv_of(sheets: Iterable[Sheet]) -> str:
    """The rows of all sheets under the columns of all."""
    sheets = list(sheets)
    keys = list(dict.fromkeys(column.key for sheet in sheets for column in sheet.columns))
    out = StringIO()
    writer = csv.writer(out, lineterminator='\n')
    writer.writerow(keys)
    for sheet in sheets:
        writer.writerows([exact(row.get(key)) for key in keys] for row in sheet.rows)
    return out.getvalue()


def _cell(column: Column, value: Value, best: float | None) -> Cell:
    shown = None if isinstance(value, float) and not math.isfinite(value) else value
    return Cell(column.key, value, column.form(shown), best is not None and value == best)


def _reads_as_number(cell: Cell) -> bool:
    return cell.is_number or NUMBER.fullmatch(cell.text) is not None


def _bold(cell: Cell) -> str:
    text = as_markdown(cell.text)
    return f'**{text}**' if cell.best else text
