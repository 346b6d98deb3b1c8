"""An inspection as text: tables of what there is, and a list of what is wrong."""

from collections import defaultdict
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from damamba.datasets.inspection import KINDS, Defect, Inspection
from damamba.datasets.inspection.files import shorten
from damamba.datasets.inspection.tally import Tally

EXAMPLES = 3  # of each kind of defect
SIZES = 3  # of pictures, the most frequent ones
CATEGORIES = 100  # COCO has 80


def render(inspection: Inspection) -> str:
    """All of it, without colours; what files say goes through no markup."""
    parts = [_counts(inspection), _sizes(inspection), _areas(inspection), _categories(inspection), _remarks(inspection)]
    return '\n\n'.join(part for part in [*parts, _defects(inspection)] if part)


def _rows(inspection: Inspection) -> list[tuple[str, Tally]]:
    """A row for each file and, of several, one for all."""
    rows = [(file.name, file.tally) for file in inspection.files]
    return rows if len(rows) == 1 else [*rows, ('total', inspection.total)]


def _table(title: str, *headings: str, left: int = 1) -> Table:
    """Columns are of figures, but for the first ones."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify='left', title_style='bold', pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(Text(heading), justify='left' if place < left else 'right')
    return table


def _text(table: Table) -> str:
    console = Console(file=StringIO(), width=1000, color_system=None)
    console.print(table)
    return '\n'.join(line.rstrip() for line in console.file.getvalue().rstrip().splitlines())


def _add(table: Table, *cells: str) -> None:
    table.add_row(*(Text(printable(cell)) for cell in cells))


def printable(text: str) -> str:
    """Without what a terminal would act on, or what can't be written."""
    return ''.join(sign if sign.isprintable() else sign.encode('unicode_escape').decode() for sign in text)


def _counts(inspection: Inspection) -> str:
    headings = ('pictures', 'without objects', 'objects', 'crowds', 'per picture: mean', 'median', 'max')
    table = _table('What there is', 'file', *headings)
    for name, tally in _rows(inspection):
        figures = (tally.pictures, tally.without_objects, tally.objects, tally.crowds)
        typical = (f'{tally.mean:.1f}', f'{tally.median:g}', f'{tally.most:,}')
        _add(table, name, *(f'{figure:,}' for figure in figures), *typical)
    return _text(table)


def _sizes(inspection: Inspection) -> str:
    table = _table('Sizes of pictures, in pixels', 'file', 'the most frequent', 'sizes', 'images in', left=2)
    table.columns[-1].justify = 'left'
    for file in inspection.files:
        sizes = file.tally.sizes
        shown = ', '.join(f'{width} x {height} ({count:,})' for (width, height), count in sizes.most_common(SIZES))
        _add(table, file.name, shown or '-', f'{len(sizes):,}', str(file.folder))
    return _text(table)


def _areas(inspection: Inspection) -> str:
    columns = ('small', 'medium', 'large', 'below 1/300', 'below 3 %', 'above')
    table = _table(
        "Areas of objects: by COCO's limits, 32 x 32 and 96 x 96, and as a share of the picture", 'file', *columns
    )
    for name, tally in _rows(inspection):
        _add(table, name, *_percentages(tally.by_area), *_percentages(tally.by_share))
    return _text(table)


def _percentages(counts: tuple[int, ...]) -> list[str]:
    return [f'{count / sum(counts):.1%}' if sum(counts) else '-' for count in counts]


def _categories(inspection: Inspection) -> str:
    files = [printable(file.name).replace('/', '/\n') for file in inspection.files]  # one column of figures each
    table = _table('Objects by category', 'name', 'id', *files)
    total, ids = inspection.total.by_category, defaultdict(dict)
    for file in inspection.files:
        for number, name in file.categories.items():
            ids[name][number] = None
    for name in list(ids)[:CATEGORIES]:
        counts = [file.tally.by_category.get(name) for file in inspection.files]
        _add(table, name, ', '.join(map(str, ids[name])), *('-' if n is None else f'{n:,}' for n in counts))
    more = f'\n{len(total) - CATEGORIES:,} more categories: --json has all' if len(ids) > CATEGORIES else ''
    return _text(table) + more


def _remarks(inspection: Inspection) -> str:
    by_reason = defaultdict(list)
    for name, reason in inspection.left_out.items():
        by_reason[reason].append(name)
    notes = [
        *inspection.notes,
        *(f"not COCO's, left out ({why}): {shorten(names)}" for why, names in by_reason.items()),
    ]
    if not inspection.decoded:
        notes.append('only the headers of the pictures were read: without --no-pixels they are read to their end')
    return '\n'.join(['Notes', *(f'  {printable(note)}' for note in notes)]) if notes else ''


def _defects(inspection: Inspection) -> str:
    if not inspection.defects:
        return 'No defects'
    by_kind = defaultdict(list)
    for defect in inspection.defects:
        by_kind[defect.kind].append(defect)
    lines = [f'Defects: {len(inspection.defects):,}']
    for kind, count in inspection.kinds.items():
        lines += ['', f'  {kind.replace("_", " ")}: {count:,} ({KINDS[kind]})']
        lines += [f'    {printable(_line(defect))}' for defect in by_kind[kind][:EXAMPLES]]
        lines += [f'    and {count - EXAMPLES:,} more'] if count > EXAMPLES else []
    return '\n'.join(lines)


def _line(defect: Defect) -> str:
    place = f', {defect.place}' if defect.place else ''
    return f'{defect.file}{place}: {defect.text}'
