"""A split as text: what each part holds, what is worth knowing, and what the inspection of the files says."""

import os
from pathlib import Path

from damamba.datasets.inspection.printout import CATEGORIES, format_verdict
from damamba.datasets.splitting import Split
from damamba.datasets.splitting.parts import id_of
from damamba.tables import Table, printable

HEADINGS = ('part', 'wanted', 'pictures', 'share', 'without objects', 'objects', 'crowds', 'groups', 'file')


def format_split(split: Split) -> str:
    """All of it, without colours."""
    tables = [_parts(split).text().rstrip(), _classes(split)]
    notes = '\n'.join(['Splitting', *(f'  {printable(note)}' for note in split.notes)]) if split.notes else ''
    leaks = sum(defect.kind == 'leak' for defect in split.inspection.defects)
    verdict = f'Leaks between the parts: {leaks or "none"}'
    parts = *tables, notes, verdict, format_verdict(split.inspection), f'For a config:\n  {settings_of(split)}'
    return '\n\n'.join(part for part in parts if part)


def settings_of(split: Split) -> str:
    """The settings of a data set of MMDetection for any of the parts."""
    file = split.parts[0].path.with_name('instances_NAME.json')
    root = os.path.commonpath([os.path.abspath(it) for it in (split.folder, file.parent)])
    below = [Path(os.path.relpath(it, root)).as_posix() for it in (file, split.folder)]
    shown = Path(os.path.relpath(root) if not file.is_absolute() else root).as_posix()
    return f"data_root='{shown}/', ann_file='{below[0]}', data_prefix=dict(img='{below[1]}/')"


def _parts(split: Split) -> Table:
    rows, total = [], sum(len(part.images) for part in split.parts)
    for part in split.parts:
        objects = part.objects.total()
        counts = part.empty, objects, len(part.annotations) - objects, part.groups
        share = f'{len(part.images) / total:.1%}'
        rows.append((part.name, f'{part.fraction:.1%}', len(part.images), share, *counts, printable(str(part.path))))
    return Table.of('Parts', HEADINGS, rows, left=(0, len(HEADINGS) - 1))


def _classes(split: Split) -> str:
    """The objects of each category in each part, and that part's share of them."""
    rows, categories = [], split.categories
    for category in categories[:CATEGORIES]:
        counts = [part.objects[id_of(dict(category_id=category.get('id')))] for part in split.parts]
        total = sum(counts)
        cells = [f'{count:,} ({count / total:.1%})' if total else '-' for count in counts]
        rows.append((printable(str(category.get('name'))), *cells, total))
    headings = ('class', *(part.name for part in split.parts), 'all')
    text = Table.of('Objects by class', headings, rows).text().rstrip() if rows else ''
    more = len(categories) - CATEGORIES
    return f'{text}\n{more:,} more classes' if more > 0 else text
