"""Light on a dim picture: colours, and what both the sheet and the animation paint."""

import cv2
import matplotlib
import numpy as np

GROUND, INK, QUIET = '#0d1117', '#f0f3f6', '#98a2ae'
STAGES = '#56b4e9', '#f0e442', '#e69f00', '#e78ac3', '#2fc79a', '#ff7f50'  # after Okabe and Ito, light enough for dark
LIGHT, PACE = 'inferno', 'viridis'  # perceptually uniform, and as good for the colour-blind


def colour_of(stage: int) -> str:
    """The colour of a stage, from 1."""
    return STAGES[(stage - 1) % len(STAGES)]


def dimmed(picture: np.ndarray, light: float, colour: float = 0.35) -> np.ndarray:
    """A picture [H, W, 3], uint8 -> floats from 0 to 1, darker and with less colour, on the sheet's ground."""
    pixels = picture.astype(np.float32) / 255
    grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    pale = colour * pixels + (1 - colour) * grey[..., None]
    ground = np.array(matplotlib.colors.to_rgb(GROUND), np.float32)
    return ground + light * pale * (1 - ground)


def glowing(base: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A picture [H, W, 3] with heat [H, W] on it, from 0 to 1: its colours cover the picture more, the hotter it is."""
    heat = heat.clip(0, 1).astype(np.float32)
    colours = matplotlib.colormaps[LIGHT](heat)[..., :3].astype(np.float32)
    cover = np.clip(heat * 2.2, 0, 1)[..., None]
    return base * (1 - cover) + colours * cover


def splat(points: np.ndarray, weights: np.ndarray, shape: tuple[int, int], radius: float) -> np.ndarray:
    """A spot of light at each point (x, y) [N, 2], as strong as its weight, of this radius in pixels: [H, W]."""
    heat = np.zeros(shape, np.float32)
    across, down = np.rint(points).astype(int).T
    inside = (across >= 0) & (across < shape[1]) & (down >= 0) & (down < shape[0])
    np.add.at(heat, (down[inside], across[inside]), weights[inside])
    return cv2.GaussianBlur(heat, (0, 0), radius) * (2 * np.pi * radius**2)


def enlarged(picture: np.ndarray, long_side: int) -> np.ndarray:
    """A picture with its longer side of this many pixels, or as it is where that is longer."""
    factor = long_side / max(picture.shape[:2])
    size = [max(1, round(side * factor)) for side in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA)


def over_picture(field: np.ndarray, to_cells: np.ndarray) -> np.ndarray:
    """A stage's map [H, W] at the cells (x, y) [h, w, 2]: cubic; beyond the border as at the border."""
    across, down = np.moveaxis(to_cells.astype(np.float32), -1, 0)
    return cv2.remap(field.astype(np.float32), across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
