"""What is wrong with the files of pictures."""

import cv2
import numpy as np
import pytest

from damamba.datasets.inspection import inspect
from damamba.datasets.inspection.pictures import look_at
from tests.datasets.inspection.helpers import document, kinds, of_image, picture, write


def test_a_missing_picture_is_named_and_so_is_a_name_that_none_can_have(folder):
    (folder / 'images' / '2.jpg').unlink()
    assert kinds(folder) == {'missing_picture': 1}
    for name in ('a\0b.jpg', 'n' * 5000, '../images', '\ud800.jpg'):
        content = document()
        of_image(file_name=name)(content)
        write(folder / 'train.json', content)
        assert sum(kinds(folder).values()) == 2


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'bmp', 'webp'])
def test_a_cut_off_picture_is_named_unless_pixels_are_left_out(folder, suffix):
    whole = cv2.imencode(f'.{suffix}', picture(2))[1].tobytes()
    (folder / 'images' / '2.jpg').write_bytes(whole[: len(whole) // 2])
    assert kinds(folder) == {'undecodable_picture': 1}
    assert cv2.imdecode(np.frombuffer(whole[: len(whole) // 2], np.uint8), cv2.IMREAD_COLOR) is None or suffix == 'bmp'
    assert kinds(folder, decode=False) == {} or suffix == 'webp'


@pytest.mark.parametrize('decode', [True, False])
@pytest.mark.parametrize('content', [b'', b'garbage', b'\xff\xd8\xff'])
def test_what_is_no_picture_is_named(folder, content, decode):
    (folder / 'images' / '2.jpg').write_bytes(content)
    assert kinds(folder, decode=decode) == {'undecodable_picture': 1}


def test_a_picture_of_another_size_is_named(folder):
    cv2.imwrite(str(folder / 'images' / '2.jpg'), picture(2)[:-1])
    (defect,) = inspect(folder, workers=1).defects
    assert (defect.kind, defect.text) == ('size_mismatch', 'listed as 80 x 60, MMDetection reads 80 x 59')


def turned(orientation: int, path, pixels) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_sizes_are_those_that_mmdetection_reads_whatever_the_orientation(tmp_path, orientation, suffix):
    from mmcv.transforms import LoadImageFromFile

    path = tmp_path / f'a.{suffix}'
    turned(orientation, path, picture(1))
    read = LoadImageFromFile().transform(dict(img_path=str(path)))['img']
    assert look_at(path, decode=True).fed == read.shape[1::-1]


def test_a_picture_that_its_orientation_turns_is_a_defect_or_a_note(folder):
    path = folder / 'images' / '2.jpg'
    turned(6, path, picture(2))
    (defect,) = inspect(folder, workers=1).defects
    assert defect.kind == 'exif_turned' and 'listed as 80 x 60, MMDetection reads 60 x 80' in defect.text
    turned(6, path, picture(2).transpose(1, 0, 2))
    found = inspect(folder, workers=1)
    assert found.defects == [] and 'train.json: 1 picture with an EXIF orientation' in found.notes[0]


def test_copies_within_a_file_are_named(folder):
    (folder / 'images' / '3.jpg').write_bytes((folder / 'images' / '1.jpg').read_bytes())
    (defect,) = inspect(folder, workers=1, decode=False).defects
    assert (defect.kind, defect.file_name, defect.text) == ('same_picture', '3.jpg', "it has the same bytes as '1.jpg'")
