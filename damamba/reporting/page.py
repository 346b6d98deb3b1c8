"""What a report is made of; the templates know these parts and nothing else."""

import base64
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from damamba.reporting.ground_truth import Section
from damamba.reporting.missing import Missing
from damamba.reporting.runs import Result, Run
from damamba.tables import Table


class Picture(NamedTuple):
    """A picture for a page."""

    name: str
    alt: str  # what stands for it where it can't be seen
    uri: str
    size: tuple[int, int]  # width and height in pixels


class Block(NamedTuple):
    """One data set's, or one run's, part of a topic; ``folded`` ones open at a click."""

    title: str = ''
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = ()
    commands: Sequence[tuple[str, str]] = ()  # what each does, and the command
    folded: bool = False
    opened: bool = False  # though it can be folded


class Topic(NamedTuple):
    """A part of the page with a heading."""

    anchor: str
    title: str
    text: str
    blocks: Sequence[Block]


class Refusal(NamedTuple):
    """Why the figures of a run on a data set do not count, and the command that tests it again."""

    run: str
    dataset: str
    reasons: Sequence[str]
    command: str


@dataclass
class Report:
    """What is reported of runs, sorted into sections."""

    title: str
    date: str
    out: Path
    folder: Path  # what pictures and files are written into; once it is whole it becomes ``out``
    runs: Sequence[Run]
    sections: Sequence[Section]
    headline: str
    palette: Mapping[str, str]
    least: float
    refusals: Sequence[Refusal]
    missing: Sequence[Missing]
    topics: Sequence[Topic] = ()
    files: Sequence[str] = ()  # those of CSV

    def picture(self, name: str, alt: str, draw: Callable[..., Path], *data: object, **options: object) -> Picture:
        """Have a picture drawn by a function of :mod:`damamba.reporting.charts` into a file of this name."""
        content = draw(*data, path=self.folder / name, palette=self.palette, **options).read_bytes()
        size = struct.unpack('>II', content[16:24])  # they stand at the beginning of a PNG
        return Picture(name, alt, f'data:image/png;base64,{base64.b64encode(content).decode()}', size)

    def label(self, result: Result) -> str:
        """What the data set of a result is called here."""
        return next((section.label for section in self.sections if result in section.results), result.data)
