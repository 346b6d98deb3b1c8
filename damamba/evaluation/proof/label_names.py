"""Do the labels that a data set gives stand for the names that its annotation file has?"""

import json
from pathlib import Path

import numpy as np
from mmdet.registry import DATASETS

from damamba.tables import listed

SAME = 0.01  # pixels by which the coordinates of one box may differ


def compare_labels(dataset: dict, document: dict, folder: Path) -> tuple[bool, str]:
    """Build a data set on these annotations, in COCO's format, and hold each label against the name in the file.

    Returns:
        Whether all are right, and what was seen: how many objects, and which category is which class.

    Raises:
        DatasetError, KeyError, ValueError, AssertionError: it can't be built on them.
    """
    part = folder / 'labels.json'
    part.write_text(json.dumps(document), encoding='utf-8')
    options = {**dataset, 'ann_file': str(part), 'data_root': '', 'pipeline': [], 'filter_cfg': None, 'indices': None}
    options['serialize_data'] = False  # which is for many workers, and collects garbage each time
    built = DATASETS.build({**options, **({'fraction': 1.0} if 'fraction' in options else {})})
    names = {category['id']: category['name'] for category in document['categories']}
    wrong, right = _count(built, document['annotations'], names)
    if wrong:
        return False, f'wrong: {", ".join(sorted(wrong))}'
    ids = [f'{names[cat_id]} is category {cat_id}' for cat_id in built.cat_ids if cat_id in names]
    return True, f'{right} objects; {listed(ids, "categories")}'


def _count(dataset, annotations: list[dict], names: dict[int, str]) -> tuple[set[str], int]:
    """'Tote is labelled Object' and so on; and how many are right."""
    wrong, right = set(), 0
    by_image: dict[int, list[dict]] = {}
    for annotation in annotations:
        by_image.setdefault(annotation['image_id'], []).append(annotation)
    for picture in map(dataset.get_data_info, range(len(dataset))):
        for instance in picture['instances']:
            label = dataset.metainfo['classes'][instance['bbox_label']]
            true = _names_at(instance['bbox'], by_image.get(picture['img_id'], []), names)
            if _folded(label) in map(_folded, true):
                right += 1
            else:
                wrong.add(f'{true[0]} is labelled {label}' if true else f'{label} is where the file has nothing')
    return wrong, right


def _names_at(box: list[float], annotations: list[dict], names: dict[int, str]) -> list[str]:
    """What the file calls the objects with this box (x1, y1, x2, y2)."""
    corners = [(x, y, x + w, y + h) for x, y, w, h in (a['bbox'] for a in annotations)]
    same = [np.abs(np.subtract(box, other)).max() < SAME for other in corners]
    return [
        names[a['category_id']] for a, at in zip(annotations, same, strict=True) if at and a['category_id'] in names
    ]


def _folded(name: str) -> str:
    return name.strip().casefold()
