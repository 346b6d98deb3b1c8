"""A map that is done in strips gives what the whole one gives, for every way to cut it."""

import pytest
import torch
import torch.nn.functional as F

from damamba.models import strips
from damamba.models.strips import in_strips
from tests.models.helpers import mini


@pytest.fixture
def cuts(monkeypatch):
    """Set how many numbers a strip may hold; note the height of every part that is given to the function."""
    heights = []

    def set_size(numbers):
        monkeypatch.setattr(strips, 'STRIP', 4 * numbers)
        return heights

    return set_size


@pytest.mark.parametrize(('batch', 'rows'), [(1, 1), (3, 2), (1, 3), (3, 5), (1, 10), (3, 11), (1, 11)])
def test_a_convolution_in_strips_is_the_convolution(batch, rows, cuts, close):
    x = torch.randn(batch, 4, 11, 7, dtype=torch.float32).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(6, 4, 3, 3)
    heights = cuts(rows * 7 * 4)

    def convolve(part, rows):
        heights.append(part.shape[2])
        return F.conv2d(part, weight, padding=1)[:, :, rows], part[:, :, rows]

    y, copy = in_strips(convolve, (x,), x[0].numel(), halo=1)
    close(y, F.conv2d(x, weight, padding=1))
    assert torch.equal(copy, x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert max(heights) <= min(rows + 2, 11)
    assert (len(heights) == 1) == (rows == 11)


@pytest.mark.parametrize('height', [16, 17, 18, 19])
def test_strips_of_a_convolution_with_a_stride_fit_together(height, cuts, close):
    x = torch.randn(2, 3, height, 9).contiguous(memory_format=torch.channels_last)
    first, second = torch.randn(4, 3, 3, 3), torch.randn(5, 4, 3, 3)
    cuts(9 * 4 * 5)

    def shrink(part, rows):
        return (F.conv2d(F.conv2d(part, first, stride=2, padding=1), second, stride=2, padding=1)[:, :, rows],)

    (y,) = in_strips(shrink, (x,), x[0].numel(), halo=2, stride=4)
    close(y, shrink(x, slice(None))[0])


@pytest.mark.parametrize('size', [(64, 96), (65, 97), (33, 200)], ids=str)
def test_the_backbone_gives_the_same_maps_in_strips(size, cuts, close):
    model = mini().eval()
    picture = torch.randn(2, 3, *size)
    with torch.no_grad():
        truths = model(picture)
        cuts(1000)  # many strips, some of one row
        maps = model(picture)
    for value, truth in zip(maps, truths, strict=True):
        close(value, truth)


def test_compilers_see_whole_maps(cuts, monkeypatch):
    cuts(1)
    x = torch.randn(1, 4, 8, 8)
    monkeypatch.setattr(torch.compiler, 'is_compiling', lambda: True)
    parts = []
    in_strips(lambda part, rows: (parts.append(part.shape[2]), (part,))[1], (x,), x.numel(), halo=0)
    assert parts == [8]
