"""The set that the tests of inspection begin with."""

import cv2
import pytest

from tests.datasets.inspection.helpers import document, noise, write_json


@pytest.fixture
def folder(tmp_path):
    """ARMBench's layout: pictures in images/ beside the file."""
    (tmp_path / 'images').mkdir()
    for number in (1, 2, 3):
        cv2.imwrite(str(tmp_path / 'images' / f'{number}.jpg'), noise(number))
    write_json(tmp_path / 'train.json', document())
    return tmp_path
