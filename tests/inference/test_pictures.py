"""Pictures from everything that may be given: files, folders, patterns, arrays, PIL's, videos; what is broken."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from damamba.inference.pictures import PictureError, read_pictures

RNG = np.random.default_rng(0)
BGR = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)


def read(source, **options):
    return list(read_pictures(source, cv2.imread, **options))


@pytest.fixture
def folder(tmp_path):
    """Two pictures of one name, one that is none, one that is cut off, a text, names with spaces and umlauts."""
    for name in ('a/x.png', 'b/x.png', 'b/sub/größer bild.PNG'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), BGR) or pytest.fail(name)
    (tmp_path / 'a/text.jpg').write_text('no picture')
    (tmp_path / 'a/notes.txt').write_text('no picture either')
    whole = cv2.imencode('.jpg', np.tile(BGR, (20, 20, 1)))[1].tobytes()
    (tmp_path / 'a/cut.jpg').write_bytes(whole[: len(whole) // 2])
    return tmp_path


def test_a_folder_gives_its_pictures_in_order_and_says_which_are_broken(folder):
    found = read(folder)
    assert [it.name for it in found] == ['a/cut.jpg', 'a/text.jpg', 'a/x.png', 'b/sub/größer bild.PNG', 'b/x.png']
    assert [it.problem is None for it in found] == [False, False, True, True, True]
    assert 'truncated' in found[0].problem and 'cannot identify' in found[1].problem
    assert all((it.pixels == BGR).all() for it in found[2:])
    assert [it.name for it in read([folder / 'a', folder / 'b' / 'x.png'])][-2:] == ['a/x.png', 'b/x.png']
    assert [it.name for it in read(f'{folder}/*/x.png')] == ['a/x.png', 'b/x.png']
    assert [it.name for it in read(str(folder / 'b/x.png'))] == ['x.png']


@pytest.mark.parametrize(
    ('given', 'order'),
    [
        (BGR, 'bgr'),
        (BGR[..., ::-1], 'rgb'),
        (np.dstack([BGR, np.full((6, 8), 9, np.uint8)]), 'bgr'),
        (np.dstack([BGR[..., ::-1], np.full((6, 8), 9, np.uint8)]), 'rgb'),
        (Image.fromarray(BGR[..., ::-1]), 'bgr'),
        (Image.fromarray(BGR[..., ::-1]).convert('RGBA'), 'bgr'),
    ],
)
def test_arrays_and_pil_pictures_have_their_colours(given, order):
    (found,) = read(given, order=order)
    assert found.pixels.flags.c_contiguous and (found.pixels == BGR).all()


def test_grey_arrays_and_turned_pil_pictures_are_as_they_look():
    grey = BGR[..., 0]
    assert all((it.pixels == grey[..., None]).all() for it in read([grey, grey[..., None], Image.fromarray(grey)]))
    turned = Image.fromarray(BGR[..., ::-1])
    turned.getexif()[0x0112] = 6  # to be turned clockwise
    assert (read(turned)[0].pixels == np.rot90(BGR, -1)).all()


def test_an_endless_iterator_is_read_picture_by_picture():
    def camera():
        while True:
            yield BGR

    found = read_pictures(camera(), cv2.imread)
    assert [next(found).name for _ in range(3)] == ['picture_000000', 'picture_000001', 'picture_000002']


def test_a_video_is_its_frames(tmp_path):
    path = str(tmp_path / 'clip.mp4')
    video = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'mp4v'), 10, (64, 48))
    for value in range(0, 250, 50):
        video.write(np.full((48, 64, 3), value, np.uint8))
    video.release()
    found = read(path)
    assert [it.frame for it in found] == [*range(5)] and found[1].name == 'clip.mp4/000001' and found[0].fps == 10
    assert [abs(int(it.pixels.mean()) - value) < 8 for it, value in zip(found, range(0, 250, 50), strict=True)] == [
        True
    ] * 5
    (tmp_path / 'broken.mp4').write_bytes(b'no video')
    assert read(tmp_path / 'broken.mp4')[0].problem == 'no frame of it can be read'


@pytest.mark.parametrize(
    ('given', 'told'),
    [
        ('nowhere.jpg', 'nowhere.jpg does not exist'),
        ('nowhere/*.jpg', r'nowhere/\*.jpg matches no pictures'),
        (BGR.astype(np.float32), r'picture_000000: an array \[6, 8, 3\] of float32 is no picture'),
        (BGR[:, :, :2], r'an array \[6, 8, 2\]'),
        (np.zeros((0, 5, 3), np.uint8), r'an array \[0, 5, 3\]'),
        (None, 'no picture: NoneType'),
        ([BGR, 1.5], 'no picture: float'),
    ],
)
def test_what_is_no_picture_is_refused_by_name(given, told):
    with pytest.raises(PictureError, match=told):
        read(given)
    with pytest.raises(PictureError, match="order must be 'bgr' or 'rgb', got 'gbr'"):
        read(BGR, order='gbr')


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(PictureError, match='has no pictures and no videos in it'):
        read(tmp_path)


def test_links_that_lead_nowhere_and_what_opencv_refuses_are_said(tmp_path):
    (tmp_path / 'a.jpg').symlink_to('nowhere.jpg')
    (tmp_path / 'b.jpg').symlink_to('b.jpg')
    (tmp_path / 'c.jpg').mkdir()
    cv2.imwrite(str(tmp_path / 'd.png'), BGR)

    def load(path):
        raise cv2.error('too\nlarge')

    problems = {it.name: it.problem for it in read_pictures(tmp_path, load)}
    assert [*problems] == ['a.jpg', 'b.jpg', 'd.png'] and problems['d.png'] == 'error: too large'
    assert problems['a.jpg'].endswith('is not there') and problems['b.jpg'].endswith('is not there')


def test_a_number_is_a_camera_unless_a_folder_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (found,) = read('77')
    assert (found.name, found.path, found.problem) == ('camera_77', None, 'no frame of it can be read')
    Path('77').mkdir()
    cv2.imwrite('77/x.png', BGR)
    assert [it.name for it in read('77')] == ['x.png']
