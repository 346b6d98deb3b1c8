"""How texts are set in the pictures: as they are, in fonts that have their letters where there are such."""

import warnings
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path

from matplotlib import font_manager, rc_context, rcParams
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

# Fonts with Chinese, Japanese and Korean letters, as Linux, Windows and macOS have them.
FALLBACKS = (
    'Noto Sans CJK SC', 'Noto Sans CJK JP', 'Noto Sans SC', 'Noto Sans JP', 'Noto Sans KR', 'Source Han Sans SC',
    'Source Han Sans CN', 'WenQuanYi Zen Hei', 'WenQuanYi Micro Hei', 'Droid Sans Fallback', 'Unifont',
    'Microsoft YaHei', 'SimHei', 'Yu Gothic', 'Malgun Gothic', 'PingFang SC', 'Hiragino Sans', 'Hiragino Sans GB',
    'Apple SD Gothic Neo', 'Arial Unicode MS',
)  # fmt: skip


def families() -> list[str]:
    """matplotlib's own, and those of the fallbacks that are installed: it takes each letter from the first with it."""
    installed = set(font_manager.fontManager.get_font_names())
    return [*rcParams['font.family'], *(name for name in FALLBACKS if name in installed)]


def as_it_is(draw: Callable[..., Path]) -> Callable[..., Path]:
    """Make a function that draws take names as they are: a dollar sign begins no formula."""

    @wraps(draw)
    def drawing(*args: object, **options: object) -> Path:
        with rc_context({'text.parse_math': False, 'font.family': families()}):
            return draw(*args, **options)

    return drawing


def save(figure: Figure, path: Path, dpi: int) -> Path:
    """Write a figure into a file; letters that no font has are boxes, as :func:`unknown_letters` tells."""
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Glyph .* missing from')
        figure.savefig(path, dpi=dpi)
    return path


def unknown_letters(texts: Iterable[str]) -> str:
    """The letters that no font here has, each once."""
    chosen = [font_manager.FontProperties(family=[name]) for name in families()]
    fonts = [FT2Font(font_manager.findfont(it)) for it in chosen]
    letters = dict.fromkeys(letter for text in texts for letter in text if not letter.isspace())
    return ''.join(letter for letter in letters if not any(font.get_char_index(ord(letter)) for font in fonts))
