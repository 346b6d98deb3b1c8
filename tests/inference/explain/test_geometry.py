"""Positions in the picture, in what the model sees, and in cells are the same places."""

import numpy as np
import pytest

from damamba.inference.explain.geometry import Geometry
from damamba.inference.explain.picture import prepare


def test_a_picture_of_its_own_coordinates_is_seen_where_the_geometry_says(detector):
    across, down = np.meshgrid(np.arange(200), np.arange(120))
    picture = np.stack([across, down, 0 * across], axis=-1).astype(np.uint8)  # blue: x, green: y
    inputs, geometry, _ = prepare(detector, picture)
    assert geometry == Geometry((120, 200), (77, 128))  # 128 x 96 at most, the ratio kept
    assert inputs.shape == (1, 3, 96, 128)  # padded to multiples of 32
    preprocessor = detector.data_preprocessor
    pixels = (inputs[0].cpu() * preprocessor.std.cpu() + preprocessor.mean.cpu()).numpy()  # red first
    seen = np.stack(np.meshgrid(np.arange(2, 126), np.arange(2, 75)), axis=-1)
    there = geometry.to_picture(seen)
    values = np.stack([pixels[2], pixels[1]], axis=-1)[2:75, 2:126]
    assert np.abs(values - there).max() <= 1  # rounded to whole numbers
    assert (
        np.abs((values - there).mean((0, 1))).max() < 0.2
    )  # OpenCV rounds down; half a pixel of the picture would be 0.28


def test_cells_lie_at_multiples_of_the_stride_and_the_way_back_is_the_same():
    geometry = Geometry((100, 300), (50, 150))
    assert geometry.to_picture((3, 2), 8).tolist() == [48.5, 32.5]  # pixels 24 and 16 of every second pixel
    positions = np.random.default_rng(0).uniform(0, 100, (20, 2))
    np.testing.assert_allclose(geometry.to_picture(geometry.to_cells(positions, 16), 16), positions)
    assert geometry.nearest((48.5, 32.5), 8, (7, 19)) == (2, 3)
    assert geometry.nearest((299, 99), 32, (2, 5)) == (1, 4)  # the last cell, though none is as near


@pytest.mark.parametrize(
    'position, inside', [((0, 0), True), ((299.4, 99.4), True), ((300, 0), False), ((0, -1), False)]
)
def test_a_position_lies_in_the_picture_or_not(position, inside):
    assert Geometry((100, 300), (50, 150)).contains(position) is inside
