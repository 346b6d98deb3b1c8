"""Texts of a report: its templates, the files of rows that lie here, and what several parts have in common."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from damamba.tables import as_markdown, number

HERE = Path(__file__).parent
FEW_CLASSES = 8  # as many as there is room for beside each other
FEW_RUNS = 4  # that are all held against each other; of more the best is held against each
KINDS = {'segm': 'masks', 'bbox': 'boxes'}


def read_csv(name: str) -> list[dict[str, str]]:
    """The rows of a file that lies here, as texts, with the digits that were published."""
    with (HERE / name).open(newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def listed(names: Iterable[str]) -> str:
    """a, b and c."""
    names = list(names)
    return ' and '.join([', '.join(names[:-1]), names[-1]] if len(names) > 1 else names)


def about(number: int) -> str:
    """A large number with two digits that count: 1,200."""
    return f'{float(f"{number:.1e}"):,.0f}'


def counted(number: int, one: str, several: str = '') -> str:
    """1 epoch, 2 epochs."""
    return f'{number} {one if number == 1 else several or f"{one}s"}'


def place_of(speed: Mapping) -> str:
    """On what times were measured: they compare where that is the same."""
    threads = speed.get('threads') if speed['kind'] == 'cpu' else None
    of_threads = f' of {counted(threads, "thread")}' if threads else ''
    each = ' each' if threads and speed['processes'] > 1 else ''
    processes = counted(speed['processes'], 'process', 'processes')
    return f'{speed["device"]}, {processes}{of_threads}{each}, batch {speed["batch_size"]}'


TEMPLATES = Environment(
    loader=FileSystemLoader(HERE / 'templates'),
    autoescape=select_autoescape(enabled_extensions=('html.j2',)),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= {'md': as_markdown, 'listed': listed, 'counted': counted, 'number': number, 'about': about}
TEMPLATES.filters |= {'thousands': '{:,}'.format, 'breakable': lambda name: escape(name).replace('_', Markup('_<wbr>'))}
TEMPLATES.globals |= {'few': FEW_CLASSES, 'most': FEW_RUNS}


def filled(template: str, **values: object) -> str:
    """A template with values in it."""
    return TEMPLATES.get_template(template).render(**values)


def notes(topic: str, *values: object) -> list[str]:
    """What stands below the tables and pictures of a topic, by its macro in notes.j2, where it has one."""
    text = getattr(TEMPLATES.get_template('notes.j2').module, topic)(*values) if topic else ''
    return [line for line in text.split('\n') if line]
