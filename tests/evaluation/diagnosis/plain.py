"""The figures of results as they stand, by the evaluation that is tested against pycocotools elsewhere."""

import numpy as np
from pycocotools import mask as rle

from damamba.evaluation.coco_ap import FIELDS, MAX_DETS, ground_truth, score


def plain(document: dict, entries: list[dict], max_dets=MAX_DETS) -> dict[str, float]:
    """mAP of boxes and masks, of what can be scored at all: what is of no picture or category counts as nothing."""
    pictures = {image['id']: image for image in document['images']}
    cat_ids = {category['id'] for category in document['categories']}
    usable = [e for e in entries if e['image_id'] in pictures and e.get('category_id') in cat_ids]
    truth = ground_truth(document)
    kinds = [kind for kind, field in FIELDS.items() if all(field in e for e in entries)]
    found = {kind: _of(usable, kind, pictures) for kind in kinds}
    return {kind: score(truth, {kind: found[kind]}, max_dets=max_dets).scores[kind].values['mAP'] for kind in kinds}


def _of(entries: list[dict], kind: str, pictures: dict[int, dict]) -> list[dict]:
    if kind == 'bbox':
        return [{key: value for key, value in e.items() if key != 'segmentation'} for e in entries]
    return [{**e, 'segmentation': _coded(e['segmentation'], pictures[e['image_id']])} for e in entries]


def _coded(region: dict | list, image: dict) -> dict:
    """RLE; one of another size than the picture lies on nothing, as an empty one does."""
    size = (image['height'], image['width'])
    if isinstance(region, list):
        return rle.merge(rle.frPyObjects(region, *size))
    return region if tuple(region['size']) == size else rle.encode(np.zeros(size, np.uint8, order='F'))
