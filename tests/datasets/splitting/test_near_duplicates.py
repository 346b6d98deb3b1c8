"""Near-duplicates among real pictures: saved again and made smaller they are, and no two of COCO's are."""

import cv2

from damamba.datasets.inspection.picture_files import read_picture_file
from damamba.datasets.splitting.near_duplicates import ALIKE, find_near_duplicates


def test_copies_of_real_pictures_are_found_and_nothing_else(shared, tmp_path):
    paths = sorted((shared / 'data' / 'coco_tiny' / 'val2017').glob('*.jpg'))
    copies = {}
    for path in paths:
        picture, copies[path] = cv2.imread(str(path)), tmp_path / path.name
        small = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        brighter = cv2.convertScaleAbs(small[2:, 2:], alpha=1.1, beta=5)
        cv2.imwrite(str(copies[path]), brighter, [cv2.IMWRITE_JPEG_QUALITY, 40])
    files = {path: read_picture_file(path, False) for path in [*paths, *copies.values()]}
    numbers, skipped = find_near_duplicates(files, ALIKE, 1)
    assert all(numbers[path] == numbers[copy] for path, copy in copies.items()) and not skipped
    assert len({*numbers.values()}) == len(paths) > 10
