"""Write the embedded data set: synthetic scenes as COCO has its pictures and annotations.

OUT/train2017/000000000001.jpg ...    OUT/annotations/instances_train2017.json
OUT/val2017/000001000001.jpg ...      OUT/annotations/instances_val2017.json
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import cv2

from damamba.datasets.annotations import annotate
from damamba.datasets.scenes import DemoError, Scene, check_number, check_size, draw_scene
from damamba.datasets.things import CLASSES

__all__ = ['CLASSES', 'DemoError', 'Summary', 'draw_scene', 'write_shapes']

DRAWING = '1.0'  # goes up with every change that gives other pictures
DATE = '2025-01-01 00:00:00'  # fixed, so that the same arguments give the same bytes
SPLITS = {'train2017': 0, 'val2017': 1_000_000}  # the first picture has the next id
MAX_IMAGES = 1_000_000
MAX_SEED = 2**63 - 1
QUALITY = 93  # of the JPEGs
HIDDEN = 0.03  # from this share on a thing counts as partly hidden
SMALL, LARGE = 32**2, 96**2  # COCO's sizes, in square pixels


@dataclass(frozen=True)
class Summary:
    """What a data set holds. Crowds are no objects; sizes are COCO's, by area: up from 32 x 32 and 96 x 96 pixels."""

    pictures: int = 0
    objects: int = 0
    hidden: int = 0  # objects of which others cover at least 3 %
    small: int = 0
    medium: int = 0
    large: int = 0
    crowds: int = 0
    fresh: bool = True  # False: it was there already

    def __add__(self, other: 'Summary') -> 'Summary':
        names = [it.name for it in fields(self) if it.name != 'fresh']
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def objects_per_picture(self) -> float:
        return self.objects / max(self.pictures, 1)

    @property
    def hidden_share(self) -> float:
        return self.hidden / max(self.objects, 1)

    def __str__(self) -> str:
        names = ('small', 'medium', 'large')
        sizes = ', '.join(f'{getattr(self, name) / max(self.objects, 1):.0%} {name}' for name in names)
        lines = {
            'pictures': f'{self.pictures}',
            'objects': f'{self.objects}, {self.objects_per_picture:.1f} per picture',
            'partly hidden': f'{self.hidden_share:.0%} of the objects',
            'sizes': f'{sizes} (less than 32 x 32, from 96 x 96 pixels on)',
            'crowds': f'{self.crowds}',
        }
        return '\n'.join(f'{name:<14} {text}' for name, text in lines.items())


def write_shapes(
    out: Path,
    images: int = 600,
    val_images: int | None = None,
    size: int = 192,
    seed: int = 0,
    on_picture: Callable[[int, int], object] = lambda done, total: None,
) -> Summary:
    """Write ``images`` scenes to train on into ``out``, and ``val_images`` (a fifth of it, at least 1) to validate on.

    Pictures have ``size`` x ``size`` pixels. The same arguments give the same bytes, and a picture depends on ``size``,
    ``seed`` and its number alone. After each picture ``on_picture`` is called with how many are done, and of how many.
    A set of the same arguments that is already there is left alone; one that an interrupted run left is drawn again.
    Raises DemoError for arguments that make no sense and for a folder that holds something else, OSError where nothing
    can be written.
    """
    val_images = max(images // 5, 1) if val_images is None else val_images
    check_arguments(images, val_images, size, seed)
    arguments = dict(kind='shapes', images=images, val_images=val_images, size=size, seed=seed, drawing=DRAWING)
    found = find_finished(out, arguments)
    if found:
        return found
    claim(out, arguments)
    documents = {split: new_document(arguments) for split in SPLITS}
    counts = dict.fromkeys(SPLITS, Summary())
    for done, (split, i) in enumerate(numbered(images, val_images), 1):
        scene = draw_scene(size, (seed, list(SPLITS).index(split), i))
        counts[split] += add_scene(documents[split], scene, out / split, i)
        on_picture(done, images + val_images)
    for split, document in documents.items():
        document['info']['summary'] = asdict(counts[split])
        annotations_of(out, split).write_text(json.dumps(document), encoding='utf-8')
    marker(out).unlink()
    return counts['train2017'] + counts['val2017']


def check_arguments(images: int, val_images: int, size: int, seed: int) -> None:
    check_number('the number of pictures to train on', images, 1, MAX_IMAGES)
    check_number('the number of pictures to validate on', val_images, 1, MAX_IMAGES)
    check_size(size)
    check_number('the seed', seed, 0, MAX_SEED)


def annotations_of(out: Path, split: str) -> Path:
    return out / 'annotations' / f'instances_{split}.json'


def marker(out: Path) -> Path:
    """While it is there, the set is not finished; it holds the arguments."""
    return out / 'unfinished.json'


def find_finished(out: Path, arguments: dict) -> Summary | None:
    """What the set of the same arguments in ``out`` holds, if it is there and whole."""
    counts = Summary(fresh=False)
    for split in SPLITS:
        info = info_of(out, split)
        if info.get('arguments') != arguments or 'summary' not in info or marker(out).exists():
            return None
        part = Summary(**info['summary'])
        if len(list((out / split).glob('*.jpg'))) != part.pictures:
            return None
        counts += part
    return counts


def info_of(out: Path, split: str) -> dict:
    info = read_json(annotations_of(out, split)).get('info')
    return info if isinstance(info, dict) else {}


def read_json(path: Path) -> dict:
    """A file's object; empty where there is no such file, or somebody else's."""
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, FileNotFoundError, NotADirectoryError):
        return {}
    return found if isinstance(found, dict) else {}


def claim(out: Path, arguments: dict) -> None:
    """Make the folders: in an empty folder, or where a run of the same arguments was interrupted."""
    if out.exists() and not out.is_dir():
        raise DemoError(f'{out} is not a folder')
    if out.exists() and any(out.iterdir()) and read_json(marker(out)) != arguments:
        other = read_json(marker(out)) or info_of(out, 'train2017').get('arguments')
        if isinstance(other, dict):
            text = ', '.join(f'{key} {value}' for key, value in other.items())
            raise DemoError(
                f'{out} holds another data set, or a part of one ({text}): remove it, or name another folder'
            )
        raise DemoError(f'{out} is not empty and holds something else than this data set, so name another folder')
    for folder in ('annotations', *SPLITS):
        (out / folder).mkdir(parents=True, exist_ok=True)
    marker(out).write_text(json.dumps(arguments), encoding='utf-8')


def numbered(images: int, val_images: int) -> Iterator[tuple[str, int]]:
    """Every picture's split and number in it."""
    for split, count in zip(SPLITS, (images, val_images), strict=True):
        yield from ((split, i) for i in range(count))


def new_document(arguments: dict) -> dict:
    info = dict(
        description='Synthetic scenes, drawn by damamba.datasets.demo',
        url='',
        version=DRAWING,
        year=int(DATE[:4]),
        contributor='damamba',
        date_created=DATE[:10].replace('-', '/'),
        arguments=arguments,
    )
    licenses = [dict(id=1, name='Apache License 2.0', url='https://www.apache.org/licenses/LICENSE-2.0')]
    categories = [dict(id=i, name=name, supercategory='shape') for i, name in enumerate(CLASSES, 1)]
    return dict(info=info, licenses=licenses, images=[], categories=categories, annotations=[])


def add_scene(document: dict, scene: Scene, folder: Path, i: int) -> Summary:
    """Write a picture, append its annotations, return what it holds."""
    height, width = scene.picture.shape[:2]
    image_id = SPLITS[folder.name] + i + 1
    name = f'{image_id:012d}.jpg'
    encoded = cv2.imencode('.jpg', scene.picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    (folder / name).write_bytes(encoded.tobytes())
    image = dict(id=image_id, file_name=name, width=width, height=height, license=1, date_captured=DATE)
    document['images'].append(image)
    annotations = [annotate(thing) for thing in scene.things]
    for number, annotation in enumerate(annotations, len(document['annotations']) + 1):
        document['annotations'].append(dict(id=number, image_id=image_id, **annotation))
    return count_things(scene, annotations)


def count_things(scene: Scene, annotations: list[dict]) -> Summary:
    areas = [it['area'] for it in annotations if not it['iscrowd']]
    small, large = sum(area < SMALL for area in areas), sum(area >= LARGE for area in areas)
    return Summary(
        pictures=1,
        objects=len(areas),
        hidden=sum(it.hidden >= HIDDEN for it in scene.things if not it.crowd),
        small=small,
        medium=len(areas) - small - large,
        large=large,
        crowds=len(annotations) - len(areas),
    )
