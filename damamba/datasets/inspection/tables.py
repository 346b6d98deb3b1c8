"""An inspection as text: tables of what there is, and a list of what is wrong."""

from collections import defaultdict
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from damamba.datasets.inspection import KINDS, Defect, File, Inspection
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
    """Files or categories as columns, whichever is narrower."""
    ids = _ids(inspection.files)
    if not ids:
        return ''
    shown = {name: ids[name] for name in list(ids)[:CATEGORIES]}
    texts = [_text(_by_category(inspection.files, shown))]
    if len(inspection.files) > 1:
        texts.append(_text(_by_file(inspection, shown)))
    more = f'\n{len(ids) - CATEGORIES:,} more categories: --json has all' if len(ids) > CATEGORIES else ''
    return min(texts, key=lambda text: max(map(len, text.splitlines()))) + more


def _ids(files: list[File]) -> dict[str, list[str]]:
    """For each category its id in each file, of equal names all; empty where it is not there."""
    ids = defaultdict(lambda: [''] * len(files))
    for place, file in enumerate(files):
        for number, name in file.categories.items():
            ids[name][place] += f', {number}' if ids[name][place] else str(number)
    return dict(ids)


def _one_id(ids: list[str]) -> str | None:
    """The id that a category has in all files that have it; None if there are several."""
    found = set(ids) - {''}
    return found.pop() if len(found) == 1 else None


def _by_category(files: list[File], ids: dict[str, list[str]]) -> Table:
    headings = [printable(file.name).replace('/', '/\n') for file in files]  # one column of figures each
    table = _table('Objects by category', 'name', 'id', *headings)
    for name, own in ids.items():
        one, cells = _one_id(own), [_count(file.tally, name) for file in files]
        if one is None:
            cells = [f'{cell} (id {number})' if number else cell for cell, number in zip(cells, own, strict=True)]
        _add(table, name, one or 'unlike', *cells)
    return table


def _by_file(inspection: Inspection, ids: dict[str, list[str]]) -> Table:
    ones, headings = {name: _one_id(own) for name, own in ids.items()}, []
    for name, one in ones.items():
        headings += [f'{printable(name)} (id {one})'] if one else [printable(name), 'its id']
    table = _table('Objects by category', 'file', *headings)
    for place, (title, tally) in enumerate(_rows(inspection)):
        cells = []
        for name, one in ones.items():
            number = [*ids[name], ' '][place] or '-'  # none for the total
            cells += [_count(tally, name)] if one else [_count(tally, name), number]
        _add(table, title, *cells)
    return table


def _count(tally: Tally, name: str) -> str:
    return f'{tally.by_category[name]:,}' if name in tally.by_category else '-'


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
