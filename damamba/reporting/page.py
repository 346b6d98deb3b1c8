"""What a report's page is made of; the templates know these parts and nothing else."""

import base64
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from damamba.reporting.runs import Result, Run
from damamba.reporting.sections import Section
from damamba.reporting.sheets import Sheet


@dataclass(frozen=True)
class Picture:
    """The content of a PNG file, its name, and what stands for it where it can't be seen."""

    name: str
    alt: str
    content: bytes = field(repr=False)

    @property
    def uri(self) -> str:
        """The picture itself, in the page."""
        return f'data:image/png;base64,{base64.b64encode(self.content).decode()}'

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, which stand at the beginning of a PNG."""
        return struct.unpack('>II', self.content[16:24])


@dataclass(frozen=True)
class Command:
    """A command, and what it does."""

    label: str
    text: str


@dataclass(frozen=True)
class Block:
    """One data set's, or one run's, part of a topic; ``folded`` ones open at a click."""

    title: str = ''
    sheets: Sequence[Sheet] = ()
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = ()
    commands: Sequence[Command] = ()
    lead: str = ''  # what is to be read before the figures
    folded: bool = False
    opened: bool = False  # though it can be folded

    @property
    def empty(self) -> bool:
        return not (self.sheets or self.pictures or self.notes or self.commands)


@dataclass(frozen=True)
class Topic:
    """A part of the page with a heading."""

    anchor: str
    title: str
    text: str = ''
    blocks: Sequence[Block] = ()


@dataclass(frozen=True)
class Refusal:
    """Why the figures of a run on a data set do not count."""

    run: str
    dataset: str
    reasons: Sequence[str]
    command: str


@dataclass(frozen=True)
class Page:
    """What is to be reported, and where pictures are written."""

    out: Path
    runs: Sequence[Run]
    sections: Sequence[Section]
    palette: Mapping[str, str]
    least: float = 0.5
    refusals: Sequence[Refusal] = ()
    drawn: list[Picture] = field(default_factory=list)

    def draw(self, name: str, alt: str, draw: Callable[..., Path], *arguments: object, **options: object) -> Picture:
        """Have a picture drawn into a file of this name."""
        path = draw(*arguments, path=self.out / name, palette=self.palette, **options)
        picture = Picture(name, alt, path.read_bytes())
        self.drawn.append(picture)
        return picture

    def refused(self, run: Run) -> bool:
        return any(refusal.run == run.name for refusal in self.refusals)

    def results(self) -> list[tuple[Run, Result]]:
        return [(run, result) for run in self.runs for result in run.results]

    def label(self, result: Result) -> str:
        """What the data set of a result is called here."""
        return next((s.label for s in self.sections if result in s.results), result.dataset.name)
