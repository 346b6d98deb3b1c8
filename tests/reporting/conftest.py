import warnings

import pytest
from matplotlib.figure import Figure
from PIL import Image

from damamba.reporting import charts
from tests.reporting.runs import CHARTS


@pytest.fixture
def drawn(monkeypatch):
    """Which runs each picture was to show; a small file stands for it."""
    seen: dict[str, list[str]] = {}

    def spy(name):
        def draw(mapping, *others, path, palette, **options):
            runs = {run for it in mapping.values() for run in it} if name == 'overview' else set(mapping)
            seen.setdefault(name, []).extend(sorted(runs))
            assert runs <= set(palette)
            Image.new('RGB', (4, 3)).save(path)
            return path

        return draw

    for name in CHARTS:
        monkeypatch.setattr(charts, f'draw_{name}', spy(name))
    return seen


@pytest.fixture
def figure_of(monkeypatch, tmp_path):
    """Draw something into a file, small to be quick unless ``full``; the figure it was."""
    figures, save = [], Figure.savefig

    def draw(function, data, *args, runs=None, full=False):
        def keep(figure, path, dpi):
            figures.append(figure)
            save(figure, path, dpi=dpi if full else 30)

        monkeypatch.setattr(Figure, 'savefig', keep)
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            path = function(data, charts.palette_of(runs or data), tmp_path / 'a.png', *args)
        assert path == tmp_path / 'a.png' and path.read_bytes().startswith(b'\x89PNG\r\n')
        return figures[-1]

    return draw
