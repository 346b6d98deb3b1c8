"""Tables: rows under columns, which become text, Markdown, CSV, and the cells of a page.

What was not measured is None; COCO writes -1 where there was nothing to find. Both are shown as a dash.
"""

import csv
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from itertools import groupby

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

Value = float | int | str | None
Rows = Iterable[Sequence[Value]]
Numbers = Mapping[str, Mapping[str, float]]
Places = Sequence[int]

UNDEFINED = -1.0
FEW = 7  # names that fit into a line
NUMBER = re.compile(r'-?\d+(\.\d+)?')
MARKDOWN_SIGNS = re.compile(r'([\\`*_{}\[\]<>|#~$])')


def is_figure(value: Value) -> bool:
    """Whether something was measured."""
    return isinstance(value, (int, float)) and math.isfinite(value) and value != UNDEFINED


def number(value: Value) -> str:
    """A count or a text as it is, a fraction with three digits, ``-`` where there is none."""
    if value is None or value == UNDEFINED:
        return '-'
    if isinstance(value, str):
        return value
    return f'{value:,}' if isinstance(value, int) else f'{value:.3f}'


def as_is(value: Value) -> str:
    """A value's own text; ``-`` where there is none."""
    return '-' if value is None else str(value)


def millions(value: int | None) -> str:
    return '-' if value is None else f'{value / 1e6:.1f} M'


def gigabytes(value: int | None) -> str:
    return '-' if value is None else f'{value / 1e9:.2f} GB'


def listed(items: list[str], what: str) -> str:
    """A few one after the other; of many how many there are."""
    return ', '.join(items) if len(items) <= FEW else f'{len(items)} {what}'


def printable(text: str) -> str:
    """Without what a terminal would act on, or what can't be written."""
    shown = (it if it.isprintable() or it == '\n' else it.encode('unicode_escape').decode() for it in text)
    return ''.join(shown)


@dataclass(frozen=True)
class Column:
    """One column; ``form`` gives a value as readers see it."""

    key: str  # its name in rows and in CSV
    heading: str = ''  # what stands above it elsewhere; by default the key
    group: str = ''  # what stands above the headings of several columns that belong together
    better: str | None = None  # high or low: which of its values is marked as the best
    form: Callable[[Value], str] = number
    hidden: bool = False  # in CSV alone
    left: bool = False  # flush left in a terminal, as the first column is
    spread: bool = False  # whether its interval is shown: what rows have by the key, `` low`` and `` high``

    @property
    def title(self) -> str:
        return self.heading or self.key


@dataclass(frozen=True)
class Cell:
    """A value beside its text; ``best`` marks it, ``interval`` stands behind it."""

    key: str
    value: Value
    text: str
    best: bool = False
    interval: str = ''

    @property
    def is_number(self) -> bool:
        return isinstance(self.value, (int, float))

    @property
    def exact(self) -> str:
        """Every digit, so that the same number is read again."""
        return str(self.value)


@dataclass(frozen=True)
class Table:
    """A table. ``name`` is that of its CSV file, which several may share; rows go by the columns' keys."""

    name: str
    title: str
    columns: Sequence[Column]
    rows: list[Mapping[str, Value]] = field(default_factory=list)
    note: str = ''
    sections: Places = ()  # rows below which a terminal draws a line
    marks: Mapping[str, Places] = field(default_factory=dict)  # rows that are marked in a column, for its best value

    @classmethod
    def of(cls, title: str, headings: Sequence[str], rows: Rows, left: Places = (0,), sections: Places = ()) -> 'Table':
        """A table of rows of cells; ``left`` are the numbers of the columns that stand flush left."""
        columns = [Column(str(place), heading or ' ', left=place in left) for place, heading in enumerate(headings)]
        keys = [column.key for column in columns]
        return cls('', title, columns, [dict(zip(keys, row, strict=True)) for row in rows], sections=sections)

    @classmethod
    def of_numbers(cls, title: str, first: str, rows: Numbers, headings: Collection[str]) -> 'Table':
        """A row of numbers for each of ``rows`` by its name, under ``first``, and a column for each heading."""
        return cls.of(title, [first, *headings], ([name, *map(it.get, headings)] for name, it in rows.items()))

    @property
    def visible(self) -> list[Column]:
        return [column for column in self.columns if not column.hidden]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """What stands above how many columns, from left to right; empty if nothing does."""
        spans = groupby(self.visible, lambda column: (column.group, not column.group and column.key))
        groups = [(group, len(list(columns))) for (group, _), columns in spans]
        return groups if any(group for group, _ in groups) else []

    @property
    def numeric(self) -> set[str]:
        """The keys of the columns that have numbers, some as texts with the digits that were published."""
        keys = set()
        for column in self.visible[1:]:
            cells = [cell for cell in self._cells_of(column) if cell.text != '-']
            if cells and all(cell.is_number or NUMBER.fullmatch(cell.text) for cell in cells):
                keys.add(column.key)
        return keys

    def cells(self) -> list[list[Cell]]:
        """The rows as they are shown, with the best of each column marked where there are several to choose from."""
        return [list(row) for row in zip(*map(self._cells_of, self.visible), strict=True)]

    def _cells_of(self, column: Column) -> list[Cell]:
        marked, cells = self.marks.get(column.key, self._best_of(column)), []
        for place, row in enumerate(self.rows):
            value = row.get(column.key)
            shown = None if isinstance(value, float) and not math.isfinite(value) else value
            ends = [row.get(f'{column.key} {end}') for end in ('low', 'high')] if column.spread else [None]
            interval = f'[{", ".join(map(column.form, ends))}]' if all(map(is_figure, ends)) else ''
            cells.append(Cell(column.key, value, column.form(shown), place in marked, interval))
        return cells

    def _best_of(self, column: Column) -> list[int]:
        """The rows with the best value, where there are several to choose from."""
        values = [row.get(column.key) for row in self.rows]
        measured = {value for value in values if is_figure(value)}
        if not column.better or len(measured) < 2:
            return []
        best = max(measured) if column.better == 'high' else min(measured)
        return [place for place, value in enumerate(values) if value == best]

    def markdown(self) -> str:
        """A table of Markdown; the best values are bold."""
        numeric = self.numeric
        lines = [[as_markdown(': '.join(filter(None, (it.group, it.title)))) for it in self.visible]]
        lines.append(['---:' if column.key in numeric else '---' for column in self.visible])
        for cells in self.cells():
            texts = [f'**{as_markdown(it.text)}**' if it.best else as_markdown(it.text) for it in cells]
            lines.append([f'{text} {as_markdown(it.interval)}'.rstrip() for text, it in zip(texts, cells, strict=True)])
        return '\n'.join(f'| {" | ".join(line)} |' for line in lines)

    def text(self) -> str:
        """As a terminal and log files show it: as wide as it needs, without colours; the best values have a star."""
        table = RichTable(title=Text(printable(self.title)), box=box.SIMPLE_HEAD, title_justify='left', pad_edge=False)
        for column in self.visible:
            heading = '\n'.join([*filter(None, column.group.split(', ')), column.title])
            table.add_column(Text(printable(heading)), justify='left' if column.left or not table.columns else 'right')
        for place, cells in enumerate(self.cells()):
            texts = (f'{it.text} {it.interval}'.rstrip() + (' *' if it.best else '') for it in cells)
            table.add_row(*(Text(printable(text)) for text in texts), end_section=place in self.sections)
        console = Console(file=StringIO(), width=1000, color_system=None)
        console.print(table)
        return '\n'.join(line.rstrip() for line in console.file.getvalue().splitlines())


def as_markdown(text: str) -> str:
    """Text that a reader of Markdown sees as it is, on one line."""
    return MARKDOWN_SIGNS.sub(r'\\\1', ' '.join(text.split()))


def csv_of(tables: Sequence[Table]) -> str:
    """The rows of all tables under the columns of all, with every digit; nothing where there is no value."""
    out = StringIO()
    keys = dict.fromkeys(column.key for table in tables for column in table.columns)
    writer = csv.DictWriter(out, keys, extrasaction='ignore', lineterminator='\n')
    writer.writeheader()
    for table in tables:
        writer.writerows(table.rows)
    return out.getvalue()
