"""Masks and pictures that lie within JSON as base64.

Masks are PNG, maybe compressed by zlib: decoded, no larger than their picture. Pictures are JPEG or PNG.
"""

import base64
import binascii
import io
import warnings
import zlib

import numpy as np
from PIL import Image

from damamba.datasets.conversion.labels import Size, rle_of

HEAD = 2**12  # bytes of a PNG beside its pixels


SUFFIXES = {'JPEG': '.jpg', 'PNG': '.png'}


class BitmapError(ValueError):
    """Not a mask, or no picture; the text says why, in a few words."""


def mask_at(text: object, origin: np.ndarray, size: Size) -> tuple[dict, bool]:
    """A bitmap whose upper left pixel lies at ``origin``, x and y -> COCO's RLE of its picture; whether it was cut.

    Raises:
        BitmapError: it can't be decoded, is larger than the picture, or lies far from it.
    """
    if not np.isfinite(origin).all() or np.abs(origin).max() > max(size):
        raise BitmapError('the origin of the bitmap is no place in the picture')
    bitmap = decode(text, size)
    (x, y), (width, height) = origin.astype(int).tolist(), size
    mask = np.zeros((height, width), bool)
    left, top = max(x, 0), max(y, 0)
    inside = bitmap[top - y : max(height - y, 0), left - x : max(width - x, 0)]
    mask[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return rle_of(mask), bool(bitmap.sum() > inside.sum())


def decode(text: object, size: Size) -> np.ndarray:
    """The pixels of a bitmap, [H, W] of bool: what is not transparent, or without alpha what is not 0."""
    if not isinstance(text, str):
        raise BitmapError('the bitmap is no text')
    try:
        content = base64.b64decode(''.join(text.split()), validate=True)
        with warnings.catch_warnings():
            warnings.simplefilter('error', Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(_inflate(content, size))) as picture:
                if picture.width > size[0] or picture.height > size[1]:
                    raise BitmapError('the bitmap is larger than the picture')
                return np.asarray(_band_of(picture)) > 0
    except BitmapError:
        raise
    except (binascii.Error, zlib.error) as error:
        raise BitmapError('the bitmap is no base64 of a PNG') from error
    except Exception as error:  # a broken file raises whatever its decoder stumbles upon
        raise BitmapError('the bitmap is no PNG') from error


def embedded_picture(text: object) -> tuple[bytes, str]:
    """The file that base64 stands for, and its suffix; of its pixels nothing is decoded.

    Raises:
        BitmapError: it is no JPEG and no PNG, or larger than Pillow takes for harmless.
    """
    if not isinstance(text, str):
        raise BitmapError('imageData is no text')
    try:
        content = base64.b64decode(''.join(text.split()), validate=True)
        with warnings.catch_warnings():
            warnings.simplefilter('error', Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=list(SUFFIXES)) as picture:
                return content, SUFFIXES[picture.format]
    except Exception as error:  # a broken file raises whatever its decoder stumbles upon
        raise BitmapError('imageData is no base64 of a JPEG or PNG') from error


def _inflate(content: bytes, size: Size) -> bytes:
    """The PNG, no longer than one of the picture's size can be."""
    if content.startswith(b'\x89PNG'):
        return content
    unpacker = zlib.decompressobj()
    most = 4 * (size[0] + 1) * size[1] + HEAD
    found = unpacker.decompress(content, most)
    if unpacker.unconsumed_tail:
        raise BitmapError('the bitmap is longer than a mask of the picture')
    return found


def _band_of(picture: Image.Image) -> Image.Image:
    if 'A' in picture.getbands():
        return picture.getchannel('A')
    return picture if picture.mode in ('1', 'L', 'P', 'I;16', 'I') else picture.convert('L')
