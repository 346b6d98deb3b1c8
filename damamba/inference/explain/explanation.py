"""What was found out about one position of a picture: arrays, a sheet, an animation.

H x W map of a stage, L = H*W row-major, C channels, G = C/16 groups; h x w what the model sees of the picture.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from damamba.inference.explain.decay import memory_lengths, weights_at
from damamba.inference.explain.geometry import Geometry
from damamba.inference.explain.receptive_field import area_of
from damamba.inference.explain.sources import Level, constellation, sources_of
from damamba.inference.whole_files import written_whole

SHARES = 0.5, 0.9  # of a receptive field, whose area is told


@dataclass(frozen=True)
class StageScan:
    """One stage, seen from one cell of its map."""

    stage: int  # from 1
    block: int  # of the stage, from 1
    stride: int  # pixels that the model sees, to a cell
    cell: tuple[int, int]  # row and column nearest to the position
    geometry: Geometry
    offsets: np.ndarray  # [H, W, G, 2], (dx, dy) in cells
    log_decay: np.ndarray  # [L, C], log a_t
    receptive_field: np.ndarray  # [h, w], shares that sum to 1

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the map, in cells."""
        return self.offsets.shape[:2]

    @property
    def step(self) -> int:
        """The cell's place in the scan, from 0."""
        return self.cell[0] * self.shape[1] + self.cell[1]

    @property
    def centre(self) -> np.ndarray:
        """The cell's position (x, y) in the picture's pixels."""
        return self.geometry.to_picture(self.cell[::-1], self.stride)

    @cached_property
    def sources(self) -> np.ndarray:
        """The positions (x, y) that each cell reads from: [H, W, G, 2] in the picture's pixels."""
        return sources_of(self.offsets, self.geometry, self.stride)

    @cached_property
    def pace(self) -> np.ndarray:
        """Positions until a contribution weighs 1/e, were all like this: -1 / log a_t, median of channels, [H, W]."""
        with np.errstate(divide='ignore'):
            return np.median(-1 / self.log_decay, axis=1).reshape(self.shape)

    @cached_property
    def memory(self) -> np.ndarray:
        """How many positions back a contribution still weighs 1/e: median of channels, [H, W]."""
        return np.median(memory_lengths(self.log_decay), axis=1).reshape(self.shape)

    @cached_property
    def weights(self) -> np.ndarray:
        """What each position up to the cell's weighs in the state there: [step + 1, C]."""
        return weights_at(self.log_decay, self.step)

    @property
    def areas(self) -> tuple[float, ...]:
        """The smallest parts of the picture that hold 50 % and 90 % of the receptive field."""
        return tuple(area_of(self.receptive_field, share) for share in SHARES)

    @property
    def reach(self) -> tuple[float, float]:
        """How far from a cell it is read, in the picture's pixels: median and largest, over the map and groups."""
        far = np.linalg.norm(self.offsets * self.stride * self.geometry.scale, axis=-1)
        return float(np.median(far)), float(far.max())


@dataclass(frozen=True)
class Explanation:
    """A picture, a position in it, and what each stage of the backbone does there."""

    picture: np.ndarray  # [H, W, 3], uint8, red first
    name: str  # of the picture
    position: tuple[float, float]  # (x, y) in the picture's pixels
    reason: str  # why this position
    stage: int  # the chosen one, from 1
    stages: tuple[StageScan, ...]

    @property
    def chosen(self) -> StageScan:
        """The chosen stage."""
        return self.stages[self.stage - 1]

    @property
    def constellation(self) -> list[Level]:
        """Where the last stage reads for the position, where the stage before reads for each of these, and so on."""
        offsets, strides = ([getattr(it, name) for it in self.stages] for name in ('offsets', 'stride'))
        return constellation(offsets, strides, self.stages[-1].geometry, self.position)

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name, as docs/explain.md lists them."""
        values = {'picture': self.picture, 'position': np.array(self.position), 'stage': np.array(self.stage)}
        for it in self.stages:
            mine = {
                'cell': np.array(it.cell),
                'offsets': it.offsets,
                'sources': it.sources.astype(np.float32),
                'receptive_field': it.receptive_field.astype(np.float32),
                'decay': np.exp(it.log_decay).astype(np.float32).reshape(*it.shape, -1),
                'pace': it.pace.astype(np.float32),
                'memory': it.memory.astype(np.float32),
                'weights': it.weights.astype(np.float32),
            }
            values |= {f'stage{it.stage}_{name}': value for name, value in mine.items()}
        return values

    def save(self, path: str | Path) -> Path:
        """Write :meth:`arrays` as .npz, whole or not at all."""
        with written_whole(path) as beside, open(beside, 'wb') as file:
            np.savez_compressed(file, **self.arrays())
        return Path(path)

    def draw(self, path: str | Path | None = None) -> np.ndarray:
        """Draw the sheet: [H, W, 3], uint8, red first; with a path, write it as PNG too."""
        from damamba.inference.explain.sheet import draw_sheet

        return draw_sheet(self, path)

    def animate(self, path: str | Path, frames: int = 120) -> Path:
        """Write the scan of the chosen stage as .gif or .mp4, in about this many frames."""
        from damamba.inference.explain.animation import animate

        return animate(self, path, frames)

    def __str__(self) -> str:
        """The figures, in a few lines."""
        across, down = self.position
        lines = [f'{self.name}: position ({across:.0f}, {down:.0f}), {self.reason}']
        for it in self.stages:
            half, most = (f'{share * 100:.3g} %' for share in it.areas)
            lines.append(
                f'stage {it.stage}: reads {it.reach[0]:.1f} px away, at most {it.reach[1]:.1f}; receptive field: 50 % '
                f'in {half}, 90 % in {most} of the picture; remembers {it.memory[it.cell]:.0f} of {it.step} positions'
            )
        return '\n'.join(lines)
