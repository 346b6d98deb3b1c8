import pytest
from PIL import Image

from damamba.reporting import topics
from tests.reporting.pages import PICTURES


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

    for name in (*PICTURES, 'examples'):
        monkeypatch.setattr(topics.draw, f'draw_{name}', spy(name))
    return seen
