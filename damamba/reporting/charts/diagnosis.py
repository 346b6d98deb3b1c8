"""Pictures of a diagnosis: what there is, what results say as they are given, and what they say once mended."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from faster_coco_eval import COCO
from pycocotools import mask as coco_mask

from damamba.evaluation.coco_ap import ground_truth
from damamba.evaluation.diagnosis import Diagnosis
from damamba.reporting.charts.examples import draw_tiles, label_of, paint, read_picture
from damamba.reporting.charts.style import INK

MORE = 2  # detections that are drawn beside as many as there are objects
NOTE = 'Of each picture the surest detections are drawn, some more than there are objects.'


def draw_diagnosis(folder: Path, document: Mapping, diagnosis: Diagnosis, path: Path, count: int = 4) -> Path:
    """Draw the first ``count`` pictures that have objects, in a row each.

    FileNotFoundError: a picture is not in ``folder``.
    """
    truth = ground_truth(dict(document))
    images = [image for image in document['images'] if _objects(truth, image)][:count]
    sides = {'as given': diagnosis.entries(images)}
    if diagnosis.can_mend:
        sides['as mended'] = diagnosis.entries(images, mended=True)
    tiles = []
    for image in images:
        picture, objects = read_picture(folder / image['file_name']), _objects(truth, image)
        size = picture.shape[1::-1]
        tiles.append((_painted(picture, size, objects, truth), f'ground truth, {image["file_name"]}', INK))
        for name, entries in sides.items():
            found = _surest(entries, len(objects) + MORE)[image['id']]
            caption = name if found else f'{name}: nothing that counts'
            tiles.append((_painted(picture, size, found, truth), caption, INK))
    title = f'Before and after: {", ".join(diagnosis.faults)}' if diagnosis.can_mend else 'As given'
    return draw_tiles(tiles, 1 + len(sides), path, title, NOTE, dpi=110)


def _objects(truth: COCO, image: Mapping) -> list[dict]:
    return [a for a in truth.imgToAnns[image['id']] if not a.get('iscrowd')]


def _painted(picture, size: tuple[int, int], entries: Sequence[dict], truth: COCO):
    entries = [it for it in map(_boxed, entries) if it['bbox'][2] > 0]  # of a mask without pixels there is nothing
    colours, labels = [it['category_id'] for it in entries], [label_of(it, truth) for it in entries]
    return paint(picture, size, entries, colours, labels)


def _boxed(entry: dict) -> dict:
    return entry if 'bbox' in entry else {**entry, 'bbox': coco_mask.toBbox(entry['segmentation']).tolist()}


def _surest(entries: Sequence[dict], most: int) -> dict[int, list[dict]]:
    by_picture = defaultdict(list)
    for entry in sorted(entries, key=lambda it: -it['score']):
        if len(by_picture[entry['image_id']]) < most:
            by_picture[entry['image_id']].append(entry)
    return by_picture
