"""One lamp above a scene: what it makes of surfaces, what lies in the shadow, what a camera makes of it.

Maps are [H, W] or [H, W, 3]; "fine" ones are FINE times larger. Colours are BGR in 0 ... 1. A light is the direction
towards the lamp (x, y, z), of length 1; z points at the camera.
"""

import math

import cv2
import numpy as np
from numpy.random import Generator

from damamba.datasets.drawing.grounds import FINE, coverage
from damamba.datasets.drawing.placing import Pose, overlap
from damamba.datasets.drawing.things import Finish

SHADOW = 0.42  # how much darker a shadow is
VIGNETTE = 0.16  # how much darker the corners are


def light_of(rng: Generator) -> np.ndarray:
    angle, rise = rng.uniform(-0.9, -0.1) * math.pi, rng.uniform(0.8, 1.0)  # y points down: the light is above
    return np.array([math.cos(angle) * math.cos(rise), math.sin(angle) * math.cos(rise), math.sin(rise)])


def own_plane(pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Where in the thing's own plane, in radii, the fine pixels of its patch lie: (u, v), [h * FINE, w * FINE] each."""
    height, width = pose.mask.shape
    x = ((np.arange(width, dtype=np.float32) + 0.5) / FINE + pose.corner[0] - pose.centre[0]) / pose.radius
    y = ((np.arange(height, dtype=np.float32) + 0.5) / FINE + pose.corner[1] - pose.centre[1]) / pose.radius
    x, y = x.astype(np.float32)[None], y.astype(np.float32)[:, None]
    cos, sin = np.float32(math.cos(pose.angle)), np.float32(math.sin(pose.angle))
    return x * cos + y * sin, y * cos - x * sin


def lay(
    canvas: np.ndarray,
    pose: Pose,
    colours: np.ndarray,
    finish: Finish,
    light: np.ndarray,
    bumps: np.ndarray | None = None,
) -> None:
    """Paint a thing and its shadow on what is there. Colours and bumps (in radii) are fine maps of its patch."""
    fine, alpha = pose.mask.astype(np.float32), coverage(pose.mask)
    shade, shine = relief(pose, finish, light, bumps)
    colours = (colours * shade[..., None] + shine[..., None]) * fine[..., None]
    colours = cv2.resize(colours, alpha.shape[::-1], interpolation=cv2.INTER_AREA)
    cast_shadow(canvas, pose, alpha, light)
    frame, patch = overlap(pose.corner, alpha.shape, canvas.shape)
    canvas[frame] = canvas[frame] * (1 - alpha[patch][..., None]) + np.clip(colours[patch], 0, 1)


def relief(
    pose: Pose, finish: Finish, light: np.ndarray, bumps: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """How bright each point of a patch is lit (about 1 where it lies flat), and how much of the lamp it mirrors."""
    unit = pose.radius * FINE
    inward = cv2.distanceTransform(pose.mask, cv2.DIST_L2, 5)
    edge = 1 - np.minimum(inward / (finish.rounding * unit), 1)
    height = finish.height * unit * np.sqrt(1 - edge * edge)
    if bumps is not None:
        height = height + bumps * unit
    height = cv2.GaussianBlur(height, (0, 0), 0.03 * unit + 0.5)
    down, right = np.gradient(height)
    length = np.sqrt(1 + right * right + down * down)
    lit = (light[2] - right * light[0] - down * light[1]) / length
    half = light + np.array([0, 0, 1], light.dtype)  # between the lamp and the eye
    half /= np.linalg.norm(half)
    mirrored = np.maximum((half[2] - right * half[0] - down * half[1]) / length, 0)
    shade = 0.5 + 0.5 * np.clip(lit / light[2], 0, 1.25) - 0.18 * np.clip(1 - inward / (0.08 * unit), 0, 1)
    return shade.astype(np.float32), (finish.gloss * (mirrored**40 - half[2] ** 40).clip(0)).astype(np.float32)


def cast_shadow(canvas: np.ndarray, pose: Pose, alpha: np.ndarray, light: np.ndarray) -> None:
    """Darken what lies away from the light, softly."""
    far = 0.14 * pose.radius + 1
    margin = int(3 * far) + 2
    spread = cv2.copyMakeBorder(alpha, *[margin] * 4, cv2.BORDER_CONSTANT, value=0)
    shift = -light[:2] / np.hypot(*light[:2]) * far
    moved = cv2.warpAffine(spread, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), spread.shape[::-1])
    soft = cv2.GaussianBlur(moved, (0, 0), 0.6 * far)
    corner = (pose.corner[0] - margin, pose.corner[1] - margin)
    frame, patch = overlap(corner, soft.shape, canvas.shape)
    canvas[frame] *= 1 - SHADOW * soft[patch][..., None]


def lamp(height: int, width: int, light: np.ndarray) -> np.ndarray:
    """Brighter towards the light, darker in the corners: [height, width]."""
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    slope = 0.05 * (x * light[0] + y * light[1]) / np.hypot(*light[:2])
    return (1.02 + slope - VIGNETTE * ((x * x + y * y) / 2) ** 1.5).astype(np.float32)


def photograph(canvas: np.ndarray, noise: float, rng: Generator) -> np.ndarray:
    """The picture that a noisy sensor takes: [H, W, 3] uint8."""
    canvas = canvas + rng.normal(0, noise, canvas.shape).astype(np.float32)
    return np.clip(canvas * 255 + 0.5, 0, 255).astype(np.uint8)
