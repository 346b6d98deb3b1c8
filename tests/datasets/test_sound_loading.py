"""Pictures that are none, or lie, or lie elsewhere: each is left out in words, in little memory; odd ones are read."""

import os
import struct
import subprocess
import sys
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from PIL import Image

from damamba.datasets.fetching import UnreadablePicture
from damamba.datasets.folders import Folder, folder_of
from damamba.datasets.sound_loading import Journal, SoundLoading, secure
from tests.detection import ROOT

W, H = 60, 40
PIXELS = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (H, W, 3), dtype=np.uint8), (5, 5), 2)


def png_header(width: int, height: int) -> bytes:
    """A picture that announces a size, and has next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(10**6))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', body) + chunk(b'IEND', b'')


def tiff_header(width: int, height: int) -> bytes:
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 9)]
    content = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in tags)
    return b'II*\0' + struct.pack('<IH', 8, len(tags)) + content + bytes(4)


def jpeg_header(width: int, height: int) -> bytes:
    content = bytearray(cv2.imencode('.jpg', PIXELS)[1].tobytes())
    place = content.index(b'\xff\xc0')
    content[place + 5 : place + 9] = struct.pack('>HH', height, width)
    return bytes(content)


def webp_header(width: int, height: int) -> bytes:
    content = bytearray(cv2.imencode('.webp', PIXELS, [cv2.IMWRITE_WEBP_QUALITY, 50])[1].tobytes())
    content[26:30] = struct.pack('<HH', width, height)
    return bytes(content)


BAD = {
    'empty': (b'', 'decoded|cv2|error'),
    'page': (b'<!doctype html><title>404</title>', 'it can not be decoded'),
    'drawing': (b'<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40"/>', 'it can not be decoded'),
    'cut off': (cv2.imencode('.png', PIXELS)[1].tobytes()[:900], 'it can not be decoded'),
    'png bomb': (png_header(50000, 50000), 'too many to be decoded'),
    'smaller bomb': (png_header(30000, 30000), 'too many to be decoded'),
    'jpeg bomb': (jpeg_header(50000, 50000), 'too many to be decoded'),
    'tiff bomb': (tiff_header(50000, 50000), 'too many to be decoded'),
    'webp bomb': (webp_header(16383, 16383), 'too many to be decoded'),
    'another size': (cv2.imencode('.png', PIXELS[:20])[1].tobytes(), '60 x 20 pixels, and annotated as 60 x 40'),
    'turned': (cv2.imencode('.png', np.rot90(PIXELS))[1].tobytes(), '40 x 60 pixels, and annotated as 60 x 40'),
}


@pytest.fixture
def load(tmp_path):
    loading = SoundLoading(LoadImageFromFile(), Folder(str(tmp_path)))
    return lambda path: loading(dict(img_path=str(path), width=W, height=H, img_id=1))


@pytest.mark.parametrize('what', BAD)
def test_what_is_no_such_picture_is_said_and_not_decoded(load, tmp_path, what):
    content, text = BAD[what]
    path = tmp_path / 'a.jpg'
    path.write_bytes(content)
    with pytest.raises(UnreadablePicture, match=text) as error:
        load(path)
    assert error.value.file == str(path)


def test_bombs_take_no_memory(tmp_path):
    """One process of little memory reads them all, to train and to test on."""
    for what in BAD:
        (tmp_path / f'{what}.jpg').write_bytes(BAD[what][0])
    code = (
        'import resource, sys; from pathlib import Path; from mmcv.transforms import LoadImageFromFile\n'
        'from damamba.datasets.sound_loading import *\n'
        'before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n'
        'for path in sorted(Path(sys.argv[1]).glob("*bomb.jpg")):\n'
        '    for journal in (None, Journal(sys.argv[1] + "/journal")):\n'
        '        try: SoundLoading(LoadImageFromFile(), None, journal)(dict(img_path=str(path), width=60, height=40))\n'
        '        except UnreadablePicture as error: pass\n'
        'print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code, str(tmp_path)],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and int(done.stdout.split()[-1]) < 300_000, done.stdout + done.stderr  # KiB
    assert {line['file'].rsplit('/')[-1] for line in Journal(tmp_path / 'journal').new()} == {
        f'{what}.jpg' for what in BAD if 'bomb' in what
    }


@pytest.mark.parametrize('kind', ['CMYK', '16 bit', 'animated', 'palette', 'grey', 'alpha'])
def test_odd_pictures_are_read(load, tmp_path, kind):
    path = tmp_path / 'a.png'
    picture = Image.fromarray(PIXELS)
    if kind == 'CMYK':
        picture.convert('CMYK').save(path, 'JPEG')
    elif kind == '16 bit':
        cv2.imwrite(str(path), PIXELS.astype(np.uint16) * 257)
    elif kind == 'animated':
        picture.save(path, 'WEBP', save_all=True, append_images=[picture.rotate(180)])
    else:
        picture.convert({'palette': 'P', 'grey': 'L', 'alpha': 'RGBA'}[kind]).save(path)
    assert load(path)['img'].shape == (H, W, 3) and load(path)['img'].dtype == np.uint8


def test_nothing_outside_of_the_data_sets_folder_is_read(tmp_path):
    folder, other = tmp_path / 'data', tmp_path / 'other'
    (folder / 'train').mkdir(parents=True)
    other.mkdir()
    for place in (folder / 'train/a.png', folder / 'b.png', other / 'c.png'):
        cv2.imwrite(str(place), PIXELS)
    (folder / 'train/link.png').symlink_to(other / 'c.png')
    (folder / 'train/inside.png').symlink_to(folder / 'b.png')
    (folder / 'elsewhere').symlink_to(other)
    os.mkfifo(folder / 'train/pipe.png')

    def read(name: str, **settings) -> None:
        prefix = settings.pop('prefix', str(folder / 'train'))
        dataset = SimpleNamespace(data_root=str(folder), data_prefix=dict(img=prefix), **settings)
        SoundLoading(LoadImageFromFile(), folder_of(dataset))(dict(img_path=os.path.join(prefix, name)))

    for name in ('a.png', '../b.png', 'inside.png', str(folder / 'b.png')):
        read(name)
    read('c.png', prefix=str(folder / 'elsewhere'))  # the config names it
    read(str(other / 'c.png'), prefix='')  # names no folder
    read('link.png', follow_links=True)
    for name in ('../../other/c.png', str(other / 'c.png'), '../train/../../other/c.png'):
        with pytest.raises(UnreadablePicture, match='name leads out of the folder'):
            read(name)
    for name in ('link.png', '../elsewhere/c.png'):
        with pytest.raises(UnreadablePicture, match='a link leads out of the folder .*follow_links=True'):
            read(name)
    with pytest.raises(UnreadablePicture, match='it is no file'):
        read('pipe.png')
    with pytest.raises(UnreadablePicture, match='No such file'):
        read('none.png')


def test_a_test_goes_on_with_a_black_picture_and_a_note(tmp_path):
    journal = Journal(tmp_path / 'run' / 'journal')
    dataset = SimpleNamespace(
        data_prefix=dict(img=''), pipeline=SimpleNamespace(transforms=[LoadImageFromFile(to_float32=True)])
    )
    for _ in range(2):
        secure(dataset, journal)
    (loading,) = dataset.pipeline.transforms
    results = loading(dict(img_path='none.png', width=W, height=H, img_id=7))
    assert results['img'].shape == (H, W, 3) and results['ori_shape'] == (H, W) and not results['img'].any()
    assert results['img'].dtype == np.float32 and loading.to_float32 and isinstance(loading.inner, LoadImageFromFile)
    (entry,) = journal.new()
    assert entry['file'] == 'none.png' and 'No such file' in entry['reason'] and journal.new() == []
