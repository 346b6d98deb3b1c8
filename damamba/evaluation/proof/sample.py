"""The ground truth that an evaluation is proved on: a part of an annotation file, without what nobody could find."""

import numpy as np
from pycocotools import mask as coco_mask

from damamba.evaluation.coco_ap import ground_truth

SAME = 0.01  # pixels


def choose(document: dict, count: int, seed: int) -> dict:
    """A part of a ground truth: pictures in a random order, first one of each category."""
    order = np.random.default_rng(seed).permutation(len(document['images'])).tolist()
    ids = [document['images'][place]['id'] for place in order]
    rank = {image_id: place for place, image_id in enumerate(ids)}
    first: dict[int, int] = {}
    for annotation in document['annotations']:
        image_id, category = annotation['image_id'], annotation['category_id']
        if image_id in rank and rank[image_id] < rank.get(first.get(category), len(ids)):
            first[category] = image_id
    wanted = dict.fromkeys([*sorted(first.values()), *ids])
    chosen = set(list(wanted)[: max(count, len(set(first.values())))])
    return {
        **document,
        'images': [image for image in document['images'] if image['id'] in chosen],
        'annotations': [a for a in document['annotations'] if a['image_id'] in chosen],
    }


def leave_out_unusable(document: dict, masks: bool) -> tuple[dict, list[str]]:
    """Leave out objects that no detector could give back: no fault of the evaluation, but of the data.

    Returns:
        The rest, and what each one was left out for.
    """
    images = {image['id']: image for image in document['images']}
    kept, reasons = [], []
    for a in document['annotations']:
        reason = None if a.get('iscrowd') else _why_unusable(a, images[a['image_id']], masks)
        if reason:
            reasons.append(f'annotation {a["id"]} of image {a["image_id"]}: {reason}')
        else:
            kept.append(a)
    return {**document, 'annotations': kept}, reasons


def _why_unusable(annotation: dict, image: dict, masks: bool) -> str | None:
    x, y, w, h = box = annotation['bbox']
    if not np.isfinite(box).all() or min(w, h) < 1 or annotation['area'] <= 0:
        return 'its box is empty'
    if min(x, y) < -SAME or x + w > image['width'] + SAME or y + h > image['height'] + SAME:
        return 'its box leaves the picture'
    return _why_no_mask(annotation, image) if masks else None


def _why_no_mask(annotation: dict, image: dict) -> str | None:
    shape = [image['height'], image['width']]
    segmentation = annotation.get('segmentation')
    if isinstance(segmentation, dict) and list(segmentation.get('size', ())) != shape:
        return 'its mask has another size'
    try:
        area = coco_mask.area(_encoded(segmentation, *shape))
    except Exception as error:  # pycocotools raises whatever its C code makes of it
        return f'its segmentation can not be read ({error})'
    return None if area else 'its mask has no pixels'


def _encoded(segmentation: list | dict, height: int, width: int) -> dict:
    """Polygons, or runs as numbers or as text, as compressed RLE."""
    if isinstance(segmentation, dict) and isinstance(segmentation['counts'], (str, bytes)):
        counts = segmentation['counts']
        return {**segmentation, 'counts': counts.encode() if isinstance(counts, str) else counts}
    found = coco_mask.frPyObjects(segmentation, height, width)
    return coco_mask.merge(found) if isinstance(found, list) else found


def boxed_by_masks(document: dict) -> dict:
    """Boxes around the masks in place of the annotated ones, for a head that draws its own that way."""
    truth = ground_truth(document)
    boxes = [coco_mask.toBbox(truth.annToRLE(a)).tolist() for a in truth.dataset['annotations']]
    pairs = zip(document['annotations'], boxes, strict=True)
    return {**document, 'annotations': [{**a, 'bbox': box} for a, box in pairs]}
