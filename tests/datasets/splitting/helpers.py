"""Small data sets to split, and what parts must have: no picture twice, every record once, no group cut."""

import json
from pathlib import Path

import cv2
import numpy as np

NAMES = ('train', 'val', 'test')


def picture(number: int) -> np.ndarray:
    """Coarse noise: pictures of unlike numbers do not look alike."""
    cells = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(cells, (64, 48), interpolation=cv2.INTER_LINEAR)


def write_pictures(folder: Path, names: list[str], numbers: list[int] | None = None) -> None:
    """A picture for each name, of these numbers, by default each of its own."""
    for number, name in zip(numbers or range(len(names)), names, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), picture(number))


def square(place: int) -> dict:
    """The shape of the object with this number in its picture."""
    left, right = 2 * place, 2 * place + 12
    return dict(bbox=[left, 4, 12, 12], area=144, segmentation=[[left, 4, right, 4, right, 16, left, 16]])


def document(classes: list[list[int]], **keys: list) -> dict:
    """A document of a picture for each list of its objects' classes; ``keys`` of the pictures, a value for each."""
    images = [dict(id=i, file_name=f'{i:03}.png', width=64, height=48) for i in range(1, len(classes) + 1)]
    for key, values in keys.items():
        for image, value in zip(images, values, strict=True):
            image[key] = value
    owned = [
        (image['id'], it, place) for image, own in zip(images, classes, strict=True) for place, it in enumerate(own)
    ]
    annotations = [
        dict(id=i, image_id=owner, category_id=it, iscrowd=0, **square(place))
        for i, (owner, it, place) in enumerate(owned, 1)
    ]
    categories = [dict(id=it, name=f'c{it}') for it in sorted({1, *(it for _, it, _ in owned)})]
    return dict(info=dict(year=2025), images=images, annotations=annotations, categories=categories)


def write(folder: Path, content: dict) -> Path:
    """Write a document as ``all.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'all.json').write_text(json.dumps(content), encoding='utf-8')
    return folder / 'all.json'


def read_parts(out: Path) -> dict[str, dict]:
    """The parts that were written, by name."""
    return {path.stem.removeprefix('instances_'): json.loads(path.read_text()) for path in out.glob('instances_*.json')}


def assert_whole(source: dict, parts: dict[str, dict]) -> None:
    """Every record is in one part, as it was and in its order, with the objects of its picture; so is all else."""
    for name in ('images', 'annotations'):
        found = [record for part in parts.values() for record in part[name]]
        assert sorted(found, key=repr) == sorted(source[name], key=repr)
        for part in parts.values():
            assert part[name] == [record for record in source[name] if record in part[name]]
    for part in parts.values():
        assert part['images']
        assert {it['image_id'] for it in part['annotations']} <= {it['id'] for it in part['images']}
        rest = {key: value for key, value in part.items() if key not in ('images', 'annotations')}
        assert rest == {key: value for key, value in source.items() if key not in ('images', 'annotations')}
        assert [*part] == [*source]


def part_of(parts: dict[str, dict]) -> dict[str, str]:
    """Where each file is."""
    return {image['file_name']: name for name, part in parts.items() for image in part['images']}
