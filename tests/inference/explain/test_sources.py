"""The points that are shown are those that adaptive_sample reads."""

import numpy as np
import torch

from damamba.inference.explain import explain
from damamba.inference.explain.geometry import Geometry, cell_grid
from damamba.inference.explain.sources import constellation, sources_of
from damamba.models import mixer


def coordinates(z):
    """A map like z [B, H, W, C] whose values say where they lie: of each group half columns, half rows."""
    height, width, channels = z.shape[1:]
    grid = torch.from_numpy(cell_grid((height, width))).to(z)
    return grid.repeat_interleave(8, dim=-1).repeat(1, 1, channels // 16)[None]


def test_sources_are_what_a_map_of_its_own_coordinates_gives(backbone, monkeypatch):
    real, read = mixer.adaptive_sample, []

    def spy(z, offset):
        read.append(real(coordinates(z), offset)[0].unflatten(-1, (-1, 2, 8))[..., 0])  # [H, W, G, 2]
        return real(z, offset)

    monkeypatch.setattr(mixer, 'adaptive_sample', spy)
    picture = np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8)
    explanation = explain(backbone, picture)
    for it, truth in zip(explanation.stages, read, strict=False):
        cells = it.geometry.to_cells(it.sources, it.stride)
        # Beyond the border zeros are mixed in.
        inside = ((cells >= 0) & (cells <= np.array(it.shape[::-1]) - 1)).all(-1)
        assert inside.mean() > 0.1 and np.abs(it.offsets[inside]).max() > 0.3
        np.testing.assert_allclose(cells[inside], truth.numpy()[inside], atol=1e-4)


def test_one_stage_of_a_constellation_is_what_its_cell_reads():
    geometry, offsets = Geometry((80, 80), (40, 40)), np.random.default_rng(0).normal(size=(5, 5, 3, 2))
    position = geometry.to_picture((2, 3), 8)
    (level,) = constellation([offsets], [8], geometry, position)
    np.testing.assert_allclose(level.points, sources_of(offsets, geometry, 8)[3, 2])
    np.testing.assert_allclose(level.origins, [position] * 3)


def test_a_constellation_goes_on_from_each_point():
    geometry, position = Geometry((64, 64), (64, 64)), (20.0, 30.0)
    fine, coarse = np.zeros((16, 16, 2, 2)), np.zeros((8, 8, 2, 2))
    fine[..., 0, :], coarse[..., 1, :] = (1, 0), (0, -2)  # one cell of 4 to the right; two cells of 8 up
    last, first = constellation([fine, coarse], [4, 8], geometry, position)
    assert (last.stage, first.stage) == (1, 0)
    assert last.points.tolist() == [[20, 30], [20, 14]]
    assert first.points.tolist() == [[24, 30], [20, 30], [24, 14], [20, 14]]
    assert first.origins.tolist() == [[20, 30], [20, 30], [20, 14], [20, 14]]


def test_between_cells_offsets_are_their_bilinear_mean():
    offsets = np.zeros((2, 3, 1, 2))
    offsets[1, 2] = (4, 8)
    geometry = Geometry((8, 12), (8, 12))
    (level,) = constellation([offsets], [4], geometry, (4 * 1.5, 4 * 0.25))  # a quarter of a half of it
    np.testing.assert_allclose(level.points, [[6 + 4 * 4 / 8, 1 + 4 * 8 / 8]])
