"""A report's page and tables, read again."""

import csv
from html.parser import HTMLParser
from pathlib import Path

from tests.reporting.runs import load, write_run

PICTURES = (
    'losses',
    'validation',
    'overview',
    'sizes',
    'recall',
    'precision_recall',
    'latency',
    'errors',
    'segmentation',
)


class Tables(HTMLParser):
    """The tables of a page by their captions: rows of (text, value) for each cell; and all pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list] = {}
        self.images: list[dict] = []
        self._row, self._caption = None, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == 'caption':
            self._caption = ''
        elif tag == 'tr' and self._caption is not None:
            self.tables.setdefault(self._caption, []).append([])
            self._row = self.tables[self._caption][-1]
        elif tag in ('td', 'th') and self._row is not None:
            self._row.append(['', None])
        elif tag == 'data':
            self._row[-1][1] = values['value']
        elif tag == 'img':
            self.images.append(values)

    def handle_endtag(self, tag):
        self._row = None if tag == 'tr' else self._row

    def handle_data(self, data):
        if self._row:
            self._row[-1][0] += data.strip('\n')
        elif self._caption == '' and data.strip():
            self._caption = data


def three(tmp_path, subsets=()) -> list[Path]:
    return [write_run(tmp_path / name, seed, subsets) for seed, name in enumerate(('first', 'second', 'third'))]


def rows_of(path: Path) -> list[dict]:
    with path.open(newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def scores_of(folder: Path) -> dict:
    return load(folder)['evaluations']['coco']['scores']


def page(out: Path) -> str:
    return (out / 'report.html').read_text(encoding='utf-8')
