"""An inspection as text: tables of what there is, and a list of what is wrong."""

from damamba.datasets.inspection import KINDS, Inspection
from damamba.datasets.inspection.defects import list_names
from damamba.tables import Table, printable

EXAMPLES = 3  # of each kind of defect
SIZES = 3  # of pictures, the most frequent ones
CATEGORIES = 100  # COCO has 80
COUNTS = ('pictures', 'without_objects', 'objects', 'crowds')
BY_COUNT = ('file', 'pictures', 'without objects', 'objects', 'crowds', 'per picture: mean', 'median', 'max')
BY_SIZE = ('file', 'the most frequent', 'sizes', 'images in')
BY_AREA = ('file', 'small', 'medium', 'large', 'below 1/300', 'below 3 %', 'above')
AREAS = "Areas of objects: by COCO's limits, 32 x 32 and 96 x 96, and as a share of the picture"


def format_inspection(inspection: Inspection) -> str:
    """All of it, without colours; what files say goes through no markup."""
    parts = [*map(Table.text, _tables(inspection)), _categories(inspection), _notes(inspection), _defects(inspection)]
    return '\n\n'.join(part.rstrip() for part in parts if part)


def format_verdict(inspection: Inspection) -> str:
    """What is worth knowing, and what is wrong."""
    return '\n\n'.join(part for part in (_notes(inspection), _defects(inspection)) if part)


def _tallies(inspection: Inspection) -> list[tuple[str, dict]]:
    """What each file holds and, of several, what all of them do."""
    names = [_on_one_line(file.name) for file in inspection.files]
    total = [('total', inspection.total)] if len(names) > 1 else []
    return [*zip(names, inspection.tallies, strict=True), *total]


def _tables(inspection: Inspection) -> list[Table]:
    counts, areas, sizes = [], [], []
    for name, tally in _tallies(inspection):
        mean, median, most = tally['per_picture'].values()
        counts.append((name, *(tally[key] for key in COUNTS), f'{mean:.1f}', f'{median:g}', most))
        areas.append((name, *_percentages(tally['areas']), *_percentages(tally['shares'])))
    for (name, tally), file in zip(_tallies(inspection), inspection.files, strict=False):
        found = [f'{it["width"]} x {it["height"]} ({it["pictures"]:,})' for it in tally['sizes']]
        sizes.append((name, ', '.join(found[:SIZES]) or '-', len(found), _on_one_line(str(file.folder))))
    return [
        Table.of('What there is', BY_COUNT, counts),
        Table.of('Sizes of pictures, in pixels', BY_SIZE, sizes, left=(0, 1, 3)),
        Table.of(AREAS, BY_AREA, areas),
    ]


def _percentages(counts: dict[str, int]) -> list[str]:
    total = sum(counts.values())
    return [f'{count / total:.1%}' if total else '-' for count in counts.values()]


def _categories(inspection: Inspection) -> str:
    """Files or categories as columns, whichever is narrower; of a single file the latter are rows."""
    files, tallies = inspection.files, _tallies(inspection)
    names = list(dict.fromkeys(name for file in files for name in file.categories.values()))
    if not names:
        return ''
    rows, columns = [], [['file', *(name for name, _ in tallies)]]  # each with its heading
    for name in names[:CATEGORIES]:
        ids = [', '.join(str(number) for number, own in file.categories.items() if own == name) for file in files]
        counts = [tally['categories'].get(name) for _, tally in tallies]
        shown, (own, *unlike) = _on_one_line(name), sorted({*ids} - {''})
        columns.append([shown if unlike else f'{shown} (id {own})', *counts])
        if unlike:
            columns.append(['its id', *(own or '-' for own in ids), ' '])  # the total has none
            counts = [f'{count:,} (id {own})' if own else count for count, own in zip(counts, ids, strict=False)]
        rows.append([shown, 'unlike' if unlike else own, *counts[: len(files)]])
    by_category = ['name', 'id', *(_on_one_line(file.name).replace('/', '/\n') for file in files)]
    headings, *by_file = zip(*columns, strict=True)
    turned = [(by_category, rows), (headings, by_file)]
    texts = [Table.of('Objects by category', *table).text().rstrip() for table in turned[: len(files)]]
    more = f'\n{len(names) - CATEGORIES:,} more categories: --json has all' if len(names) > CATEGORIES else ''
    return min(texts, key=lambda text: max(map(len, text.splitlines()))) + more


def _notes(inspection: Inspection) -> str:
    notes = list(inspection.notes)
    for why in dict.fromkeys(inspection.left_out.values()):
        names = [name for name, reason in inspection.left_out.items() if reason == why]
        notes.append(f"not COCO's, left out ({why}): {list_names(names)}")
    if not inspection.decoded:
        notes.append('only the headers of the pictures were read: check-dataset without --no-pixels reads all')
    return '\n'.join(['Notes', *(f'  {_on_one_line(note)}' for note in notes)]) if notes else ''


def _defects(inspection: Inspection) -> str:
    if not inspection.defects:
        return 'No defects'
    lines = [f'Defects: {len(inspection.defects):,}']
    for kind, count in inspection.kinds.items():
        lines += ['', f'  {kind.replace("_", " ")}: {count:,} ({KINDS[kind]})']
        for defect in [it for it in inspection.defects if it.kind == kind][:EXAMPLES]:
            lines.append(f'    {_on_one_line(str(defect))}')
        lines += [f'    and {count - EXAMPLES:,} more'] if count > EXAMPLES else []
    return '\n'.join(lines)


def _on_one_line(text: str) -> str:
    return printable(text).replace('\n', r'\n')
