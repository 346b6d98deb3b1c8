"""What MMDetection's ``CocoDataset`` leaves out without a word: objects, and pictures of what is trained on."""

from collections import Counter
from collections.abc import Container, Mapping, Sequence

Reasons = Sequence[str | None]  # one for each of several, None for what is not left out
OBJECTS, PICTURES = 'objects are not learned', 'pictures are not trained on'
BROKEN = 'have a broken record'
CROWD, EMPTY = 'are crowds', 'have no objects'  # which is as it should be
RECIPES = dict(filter_empty_gt=True, min_size=32)  # the ``filter_cfg`` of every recipe


def why_left_out(annotation: Mapping, across: int, down: int, filter_cfg: Mapping) -> str | None:
    """Why nothing is learned of an object in a picture of this width and height; None if something is.

    As ``CocoDataset.parse_data_info`` has it. A crowd is handed out, but to be ignored.
    """
    if why := why_picture_left_out(True, across, down, filter_cfg):
        return f'lie in pictures that {why}'
    if annotation.get('ignore'):
        return 'are marked "ignore"'
    x, y, width, height = annotation['bbox']
    if min(x + width, across) <= max(x, 0) or min(y + height, down) <= max(y, 0):
        return 'lie outside of their picture'
    if annotation['area'] <= 0:
        return 'have no area'
    if width < 1 or height < 1:
        return 'have a box of less than a pixel'
    return CROWD if annotation.get('iscrowd') else None


def why_picture_left_out(annotated: bool, width: int, height: int, filter_cfg: Mapping) -> str | None:
    """Why a picture is not trained on, as ``CocoDataset.filter_data`` has it: there crowds and the like are objects."""
    if filter_cfg.get('filter_empty_gt') and not annotated:
        return EMPTY
    least = filter_cfg.get('min_size', 0)
    return f'have less than {least} pixels a side' if min(width, height) < least else None


def find_left_out(document: Mapping, cat_ids: Container[int], filter_cfg: Mapping | None) -> tuple[Reasons, Reasons]:
    """For each object of these categories or of none, and for each picture, why it is left out; None where it is not.

    ``filter_cfg`` is that of a data set to train on; of one to test on it is None.
    """
    sizes, filter_cfg = {it['id']: (it['width'], it['height']) for it in document['images']}, filter_cfg or {}
    others = {it['id'] for it in document['categories']}.difference(cat_ids)
    objects = [it for it in document['annotations'] if it['category_id'] not in others]
    annotated = {it['image_id'] for it in objects}
    pictures = [why_picture_left_out(number in annotated, *size, filter_cfg) for number, size in sizes.items()]

    def why(it: Mapping) -> str | None:
        if it['image_id'] not in sizes:
            return 'belong to no picture'
        if it['category_id'] not in cat_ids:
            return 'belong to no category'
        return why_left_out(it, *sizes[it['image_id']], filter_cfg)

    return [why(it) for it in objects], pictures


def describe_left_out(reasons: Reasons, what: str = OBJECTS) -> str:
    """A sentence, or nothing: 5 of 40 objects are not learned: 3 are crowds, 2 have no area."""
    counts = Counter(reason for reason in reasons if reason)
    parts = ', '.join(f'{count:,} {reason}' for reason, count in counts.items())
    return f'{counts.total():,} of {len(reasons):,} {what}: {parts}' if parts else ''
