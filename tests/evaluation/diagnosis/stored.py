"""Results of small models, trained for real and stopped at several stages, kept small: honest/*.json.gz.

They are of `make demo` (360 scenes, `epoch_1.pth` to `epoch_6.pth`) and of what is fine-tuned from it on the stand-in
(configs/armbench/mask_rcnn_DAMamba_nano_fpn_armbench_demo.py, 120 pictures, 8 epochs), each written by

    python tools/test.py CONFIG CHECKPOINT --format-only --eval-options outfile_prefix=OUT
    python -m tests.evaluation.diagnosis.stored OUT.segm.json honest/NAME.json.gz

and hold the detections on the first pictures that are tested, of a score of 0.1 at least. A mask is kept as
SIDE x SIDE pixels of its box, which is what the mask head makes.
"""

import gzip
import json
import sys
from pathlib import Path

from pycocotools import mask as rle

from tests.evaluation.diagnosis import sets
from tests.evaluation.diagnosis.detectors import SIDE, cut_out, encode, paste

PICTURES = {'demo': 10, 'armbench': 8}
LEAST = 0.1


def truth_of(name: str) -> dict:
    """The annotations of the first pictures that were tested."""
    if name.startswith('demo'):
        return sets.shapes(PICTURES['demo'], 192)
    return sets.totes(PICTURES['armbench'], 320, split='test')


def pack(entries: list[dict], name: str) -> bytes:
    """The results of these pictures, as few bytes."""
    wanted = {image['id'] for image in truth_of(name)['images']}
    kept = [e for e in entries if e['image_id'] in wanted and e['score'] >= LEAST]
    return gzip.compress(json.dumps([_row(e) for e in kept], separators=(',', ':')).encode(), 9, mtime=0)


def _row(e: dict) -> list:
    small = encode(cut_out(rle.decode(e['segmentation']), e['bbox']) > 0.5)
    return [e['image_id'], e['category_id'], round(e['score'], 3), [round(v, 1) for v in e['bbox']], small['counts']]


def unpack(content: bytes, name: str) -> list[dict]:
    """The results again."""
    images = {image['id']: image for image in truth_of(name)['images']}
    entries = []
    for image_id, category, score, box, counts in json.loads(gzip.decompress(content)):
        small = rle.decode({'size': [SIDE, SIDE], 'counts': counts}).astype('f4')
        region = encode(paste(small, box, images[image_id]))
        entries.append(dict(image_id=image_id, category_id=category, score=score, bbox=box, segmentation=region))
    return entries


if __name__ == '__main__':
    source, target = map(Path, sys.argv[1:])
    target.write_bytes(pack(json.loads(source.read_text()), target.name))
