"""What is wrong with the files of pictures."""

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from PIL import Image

from damamba.datasets.inspection import inspect_dataset
from damamba.datasets.inspection.picture_files import read_picture_file
from tests.datasets.inspection.helpers import document, kinds, noise, write_json


def save_picture(orientation=1, pixels=lambda pixels: pixels, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return lambda path: Image.fromarray(pixels(noise(2))).save(path, exif=exif, **options)


FILES = [  # how the sentence on a file begins, and how it is made
    ('missing_picture: ', lambda path: path.unlink()),
    ('undecodable_picture: UnidentifiedImageError: ', lambda path: path.write_bytes(b'')),
    ('undecodable_picture: UnidentifiedImageError: ', lambda path: path.write_bytes(b'garbage')),
    ('undecodable_picture: UnidentifiedImageError: ', lambda path: path.write_bytes(b'\xff\xd8\xff')),
    ('undecodable_picture: TGA is no format that OpenCV, and so MMDetection, reads', save_picture(format='TGA')),
    ('size_mismatch: listed as 80 x 60, MMDetection reads 80 x 59', save_picture(pixels=lambda pixels: pixels[:-1])),
    ('exif_turned: listed as 80 x 60, MMDetection reads 60 x 80, after EXIF orientation 6', save_picture(6)),
]


@pytest.mark.parametrize('decode', [True, False])
@pytest.mark.parametrize(('said', 'make'), FILES)
def test_what_is_wrong_with_a_file_is_named(folder, said, make, decode):
    make(folder / 'images' / '2.jpg')
    (defect,) = inspect_dataset(folder, decode=decode, workers=1).defects
    assert f'{defect.kind}: {defect.text}'.startswith(said) and defect.file_name == '2.jpg'


def png(pixels) -> bytes:
    return cv2.imencode('.png', pixels)[1].tobytes()


def with_alpha(pixels):
    return np.dstack([pixels, np.full(pixels.shape[:2], 65535, np.uint16)])


RAMP = np.arange(60 * 80 * 3, dtype=np.uint16).reshape(60, 80, 3) % 4096
DEEP = {  # what is said of a file with more than 8 bits, and its content
    'twelve bits': ('deep_picture: 16 bits with values up to 4095, fed as 15 of 255', png(RAMP)),
    'twelve bits, grey': ('deep_picture: 16 bits with values up to 4095, fed as 15 of 255', png(RAMP[..., 0])),
    'twelve bits and alpha': ('deep_picture: 16 bits with values up to 4095, fed as 15 of 255', png(with_alpha(RAMP))),
    'sixteen bits': (None, png(RAMP * 16)),
    'eight bits': (None, png(noise(2))),
}


@pytest.mark.parametrize('case', DEEP)
def test_pictures_of_more_bits_are_seen_as_mmdetection_reads_them(folder, case):
    said, content = DEEP[case]
    (folder / 'images' / '2.jpg').write_bytes(content)
    read = LoadImageFromFile().transform(dict(img_path=str(folder / 'images' / '2.jpg')))['img']
    found = [f'{it.kind}: {it.text}' for it in inspect_dataset(folder, workers=1).defects]
    assert len(found) == bool(said) and all(text.startswith(said) for text in found)
    assert (read.max() < 16) == bool(said)


@pytest.mark.parametrize('mode', ['F', 'I'])
def test_a_tiff_that_pillow_reads_and_opencv_does_not_is_named(folder, mode):
    Image.fromarray(noise(2)[..., 0]).convert(mode).save(folder / 'images' / '2.jpg', format='TIFF')
    with pytest.raises(AssertionError, match='failed to load image'):
        LoadImageFromFile().transform(dict(img_path=str(folder / 'images' / '2.jpg')))
    (defect,) = inspect_dataset(folder, workers=1).defects
    assert defect.kind == 'undecodable_picture' and 'OpenCV, and so MMDetection, can not read it' in defect.text


def test_a_name_that_no_file_can_have_is_named(folder):
    (folder / 'images' / '2.jpg').unlink()
    for name in ('a\0b.jpg', 'n' * 5000, '../images', '\ud800.jpg'):
        content = document()
        content['images'][0]['file_name'] = name
        write_json(folder / 'train.json', content)
        assert sum(kinds(folder).values()) == 2


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'bmp', 'webp'])
def test_a_cut_off_picture_is_named_unless_pixels_are_left_out(folder, suffix):
    whole = cv2.imencode(f'.{suffix}', noise(2))[1].tobytes()
    (folder / 'images' / '2.jpg').write_bytes(whole[: len(whole) // 2])
    assert kinds(folder) == {'undecodable_picture': 1}
    assert kinds(folder, decode=False) == ({'undecodable_picture': 1} if suffix == 'webp' else {})


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp', 'tiff'])
def test_sizes_are_those_that_mmdetection_reads_whatever_the_orientation(tmp_path, orientation, suffix):
    path = tmp_path / f'a.{suffix}'
    save_picture(orientation)(path)
    read = LoadImageFromFile().transform(dict(img_path=str(path)))['img']
    assert read_picture_file(path, decode=True).fed == read.shape[1::-1]


def test_a_picture_that_is_turned_to_the_listed_size_is_a_note(folder):
    save_picture(6, pixels=lambda pixels: pixels.transpose(1, 0, 2))(folder / 'images' / '2.jpg')
    found = inspect_dataset(folder, workers=1)
    assert found.defects == [] and 'train.json: 1 picture with an EXIF orientation' in found.notes[1]
