"""Where the panels of a sheet stand, in inches from its upper left corner, for a picture of any shape."""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Box = tuple[float, float, float, float]  # left, top, width, height

PANEL = 2.05  # width of a stage's panel
MARGIN, GAP, GUTTER = 0.5, 0.16, 0.62
TITLE, ROW_HEAD, CAPTION = 2.0, 0.64, 0.3  # heights: titles of the sheet and its columns, above and below a panel
BAR = 0.75  # width of what stands behind the last panel: a scale
ROWS = 3
FLATTEST, TALLEST = 0.45, 2.0  # a panel's height, by its width


@dataclass(frozen=True)
class Layout:
    """Left a large panel, and a curve below it; right a column of three panels for each stage."""

    aspect: float  # of the picture, height by width
    stages: int

    @property
    def height(self) -> float:
        """Of a panel."""
        return PANEL * min(max(self.aspect, FLATTEST), TALLEST)

    @property
    def pitch(self) -> float:
        """From a row to the next."""
        return ROW_HEAD + self.height + CAPTION

    @property
    def hero(self) -> Box:
        """The large panel: as high as two rows, and the names of the stages."""
        height = ROW_HEAD + self.pitch + self.height
        return MARGIN, TITLE, height * PANEL / self.height, height

    @property
    def curve(self) -> Box:
        """Below the large panel, beside the last row."""
        left, _, width, _ = self.hero
        return left, self.panel(2, 0)[1], width, self.height

    def panel(self, row: int, stage: int) -> Box:
        """The panel of a row and a stage, each from 0."""
        left = MARGIN + self.hero[2] + GUTTER + stage * (PANEL + GAP)
        return left, TITLE + ROW_HEAD + row * self.pitch, PANEL, self.height

    def scale(self, row: int) -> Box:
        """The scale of a row, behind its last panel."""
        left, top, width, height = self.panel(row, self.stages - 1)
        return left + width + 0.14, top, 0.09, height

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the sheet."""
        left, top, width, height = self.panel(ROWS - 1, self.stages - 1)
        return left + width + BAR, top + height + CAPTION + MARGIN

    def axes(self, figure: Figure, box: Box) -> Axes:
        """New axes in a box."""
        left, top, width, height = box
        across, down = self.size
        return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))

    def write(self, figure: Figure, left: float, top: float, text: str, **look: object) -> None:
        """A text whose first letter's base stands here."""
        across, down = self.size
        figure.text(left / across, 1 - top / down, text, va='baseline', **look)
