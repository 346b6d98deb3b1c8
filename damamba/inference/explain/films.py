"""Frames -> a GIF or an MP4, whole or not at all."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from damamba.inference.explain.errors import ExplainError
from damamba.inference.whole_files import written_whole

RATE = 15  # frames a second
PAUSE = 1.5  # seconds that the last frame stays
COLOURS = 255  # of a GIF: one is left for what does not change
CODECS = 'avc1', 'mp4v'  # H.264 where OpenCV has it


def write_film(draw: Callable[[], Iterable[np.ndarray]], path: Path, kept: np.ndarray) -> Path:
    """Draw frames, each [H, W, 3], uint8, red first, and write them.

    Args:
        draw: gives the frames.
        path: where to, with the suffix .gif or .mp4.
        kept: colours [N, 3] from 0 to 1 that a GIF must have.

    Raises:
        ExplainError: the suffix is neither .gif nor .mp4, or OpenCV can not write MP4 here.
    """
    writers = {'.gif': _write_gif, '.mp4': _write_mp4}
    if path.suffix.lower() not in writers:
        raise ExplainError(f'an animation is .gif or .mp4, not {path.name}')
    with written_whole(path) as beside:
        writers[path.suffix.lower()](list(draw()), beside, kept)
    return path


def _write_gif(frames: Sequence[np.ndarray], path: Path, kept: np.ndarray) -> None:
    """One palette for all frames, so that what does not change costs nothing."""
    palette = _palette(frames, kept)
    drawn = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    times = [round(1000 / RATE)] * (len(drawn) - 1) + [round(1000 * PAUSE)]
    drawn[0].save(path, format='GIF', save_all=True, append_images=drawn[1:], duration=times, loop=0, optimize=False)


def _palette(frames: Sequence[np.ndarray], kept: np.ndarray) -> Image.Image:
    """The colours that must be there, and the most important others of some frames."""
    some = np.concatenate([frames[place][::2, ::2] for place in np.linspace(0, len(frames) - 1, 4).round().astype(int)])
    others = Image.fromarray(some).quantize(COLOURS - len(kept), Image.Quantize.MEDIANCUT, kmeans=1).getpalette()
    palette = Image.new('P', (1, 1))
    palette.putpalette([*np.rint(255 * kept).astype(int).ravel().tolist(), *others])
    return palette


def _write_mp4(frames: Sequence[np.ndarray], path: Path, _: np.ndarray) -> None:
    height, width = frames[0].shape[:2]
    level = cv2.setLogLevel(0)  # a codec that is missing is no error: the next one is tried
    try:
        writers = (cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*name), RATE, (width, height)) for name in CODECS)
        writer = next((writer for writer in writers if writer.isOpened()), None)
    finally:
        cv2.setLogLevel(level)
    if writer is None:
        raise ExplainError('OpenCV can not write MP4 here: take .gif')
    for frame in [*frames, *[frames[-1]] * round(RATE * PAUSE)]:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
