"""Write scenes as COCO has its pictures and annotations, the same bytes every time; know a set that is whole again."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import cv2

from damamba.datasets.drawing.annotations import annotate
from damamba.datasets.drawing.scenes import DemoError, Scene

DATE = '2025-01-01 00:00:00'  # fixed, so that the same arguments give the same bytes
MAX_SEED = 2**63 - 1
QUALITY = 93  # of the JPEGs
HIDDEN = 0.03  # from this share on a thing counts as partly hidden
SMALL, LARGE = 32**2, 96**2  # COCO's sizes, in square pixels

OnPicture = Callable[[int, int], object]


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

    def lines(self) -> dict[str, str]:
        """What is said of it, without the crowds."""
        names = ('small', 'medium', 'large')
        sizes = ', '.join(f'{getattr(self, name) / max(self.objects, 1):.0%} {name}' for name in names)
        return {
            'pictures': f'{self.pictures}',
            'objects': f'{self.objects}, {self.objects_per_picture:.1f} per picture',
            'partly hidden': f'{self.hidden_share:.0%} of the objects',
            'sizes': f'{sizes} (less than 32 x 32, from 96 x 96 pixels on)',
        }

    def __str__(self) -> str:
        return in_columns(self.lines() | {'crowds': f'{self.crowds}'})


def in_columns(lines: dict[str, str]) -> str:
    return '\n'.join(f'{name:<14} {text}' for name, text in lines.items())


@dataclass(frozen=True)
class Part:
    """One file of annotations, and the pictures that it describes."""

    annotations: Path  # in the set's folder
    pictures: Path  # the folder in it; parts may share one
    count: int
    draw: Callable[[int], Scene]  # the picture of a number from 0 on
    names: Callable[[int], tuple[int, str]]  # its id and its file's name
    categories: list[dict]
    holder: int | None = None  # the class, as an index, that holds the objects and is none itself


def write_set(
    out: Path, parts: Sequence[Part], arguments: dict, description: str, on_picture: OnPicture
) -> list[Summary]:
    """Draw all parts into ``out``, or find that they are there; return what each holds.

    ``arguments`` tell one set from another. Until the set is whole its folder is marked as unfinished, and there are no
    annotations. Raises DemoError for a folder that holds something else, OSError where nothing can be written.
    """
    found = find_finished(out, parts, arguments)
    if found:
        return found
    claim(out, parts, arguments)
    documents = [new_document(part, arguments, description) for part in parts]
    counts = [Summary() for _ in parts]
    numbered = [(number, i) for number, part in enumerate(parts) for i in range(part.count)]
    for done, (number, i) in enumerate(numbered, 1):
        counts[number] += add_picture(documents[number], parts[number], out, i)
        on_picture(done, len(numbered))
    for part, document, count in zip(parts, documents, counts, strict=True):
        document['info']['summary'] = asdict(count)
        (out / part.annotations).write_text(json.dumps(document), encoding='utf-8')
    marker(out).unlink()
    return counts


def marker(out: Path) -> Path:
    """While it is there, the set is not finished; it holds the arguments."""
    return out / 'unfinished.json'


def find_finished(out: Path, parts: Sequence[Part], arguments: dict) -> list[Summary] | None:
    """What the set of the same arguments in ``out`` holds, if it is there and whole."""
    if marker(out).exists():
        return None
    infos = [info_of(out / part.annotations) for part in parts]
    if any(info.get('arguments') != arguments or 'summary' not in info for info in infos):
        return None
    for folder in {part.pictures for part in parts}:
        wanted = sum(part.count for part in parts if part.pictures == folder)
        if len(list((out / folder).glob('*.jpg'))) != wanted:
            return None
    return [Summary(**{**info['summary'], 'fresh': False}) for info in infos]


def info_of(path: Path) -> dict:
    info = read_json(path).get('info')
    return info if isinstance(info, dict) else {}


def read_json(path: Path) -> dict:
    """A file's object; empty where there is no such file, or somebody else's."""
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except (ValueError, FileNotFoundError, NotADirectoryError):
        return {}
    return found if isinstance(found, dict) else {}


def claim(out: Path, parts: Sequence[Part], arguments: dict) -> None:
    """Make the folders: in an empty folder, or where a run of the same arguments was interrupted."""
    if out.exists() and not out.is_dir():
        raise DemoError(f'{out} is not a folder')
    if out.exists() and any(out.iterdir()) and read_json(marker(out)) != arguments:
        other = read_json(marker(out)) or info_of(out / parts[0].annotations).get('arguments')
        if isinstance(other, dict):
            text = ', '.join(f'{key} {value}' for key, value in other.items())
            raise DemoError(
                f'{out} holds another data set, or a part of one ({text}): remove it, or name another folder'
            )
        raise DemoError(f'{out} is not empty and holds something else than this data set, so name another folder')
    for part in parts:
        (out / part.annotations).parent.mkdir(parents=True, exist_ok=True)
        (out / part.pictures).mkdir(parents=True, exist_ok=True)
    marker(out).write_text(json.dumps(arguments), encoding='utf-8')


def new_document(part: Part, arguments: dict, description: str) -> dict:
    info = dict(
        description=description,
        url='',
        version=arguments['drawing'],
        year=int(DATE[:4]),
        contributor='damamba',
        date_created=DATE[:10].replace('-', '/'),
        arguments=arguments,
    )
    licenses = [dict(id=1, name='Apache License 2.0', url='https://www.apache.org/licenses/LICENSE-2.0')]
    return dict(info=info, licenses=licenses, images=[], categories=part.categories, annotations=[])


def add_picture(document: dict, part: Part, out: Path, i: int) -> Summary:
    """Draw and write a picture, append its annotations, return what it holds."""
    scene, (image_id, name) = part.draw(i), part.names(i)
    height, width = scene.picture.shape[:2]
    encoded = cv2.imencode('.jpg', scene.picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    (out / part.pictures / name).write_bytes(encoded.tobytes())
    image = dict(id=image_id, file_name=name, width=width, height=height, license=1, date_captured=DATE)
    document['images'].append(image)
    annotations = [annotate(thing) for thing in scene.things]
    for number, annotation in enumerate(annotations, len(document['annotations']) + 1):
        document['annotations'].append(dict(id=number, image_id=image_id, **annotation))
    return count_things(scene, annotations, part.holder)


def count_things(scene: Scene, annotations: list[dict], holder: int | None) -> Summary:
    things = [it for it in zip(scene.things, annotations, strict=True) if it[0].category != holder]
    areas = [annotation['area'] for thing, annotation in things if not thing.crowd]
    small, large = sum(area < SMALL for area in areas), sum(area >= LARGE for area in areas)
    return Summary(
        pictures=1,
        objects=len(areas),
        hidden=sum(thing.hidden >= HIDDEN for thing, _ in things if not thing.crowd),
        small=small,
        medium=len(areas) - small - large,
        large=large,
        crowds=len(things) - len(areas),
    )
