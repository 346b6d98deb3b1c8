"""Tables as text, as the log and the commands show them."""

from collections.abc import Iterable, Mapping
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table

NAMES = {'bbox': 'box', 'segm': 'mask'}
UNDEFINED = -1.0  # COCO's value where there is no ground truth to find
FEW = 7  # names that fit into a line


def start(title: str, *headings: str) -> Table:
    """An empty table; its headings are those of texts, to the left."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify='left', title_style='bold', pad_edge=False)
    for heading in headings:
        table.add_column(heading)
    return table


def figures(title: str, first: str, rows: Mapping[str, Mapping[str, float]], headings: Iterable[str]) -> Table:
    """A table of numbers: a line for each of ``rows`` by its name, under ``first``, and a column for each heading."""
    table = start(title, first)
    for heading in headings:
        table.add_column(heading, justify='right')
    for name, values in rows.items():
        table.add_row(name, *(number(values.get(column.header)) for column in table.columns[1:]))
    return table


def number(value: float | None) -> str:
    """A count as it is, a fraction with three digits, ``-`` where there is none."""
    if value is None or value == UNDEFINED:
        return '-'
    return f'{value:,}' if isinstance(value, int) else f'{value:.3f}'


def text(table: Table) -> str:
    """Text as wide as the table needs, without colours: it goes into log files too."""
    console = Console(file=StringIO(), width=1000, color_system=None)
    console.print(table)
    return '\n'.join(line.rstrip() for line in console.file.getvalue().splitlines())


def listed(items: list[str], what: str) -> str:
    """A few one after the other; of many how many there are."""
    return ', '.join(items) if len(items) <= FEW else f'{len(items)} {what}'
