"""Work folders as runs leave them, with random but fixed figures."""

import json
import random
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from damamba.reporting.missing import missing_of
from damamba.reporting.runs import read_run

CLASSES = ('Object', 'Tote')
SCORES = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
RECALLS = ('AR@1', 'AR@10', 'AR@100', 'AR_s@100', 'AR_m@100', 'AR_l@100')
SIZES = ('mAP_s', 'mAP_m', 'mAP_l', 'AR_s@100', 'AR_m@100', 'AR_l@100')
ERRORS = ('AP50', 'classification', 'localisation', 'duplicate', 'missed', 'false positives', 'false negatives')
VERSIONS = {'damamba': '0.1.0', 'torch': '2.11.0', 'mmdet': '3.5.1'}


def by_class(rng: random.Random, names: tuple[str, ...], classes: tuple[str, ...]) -> dict:
    """Figures by name, and the same of each class; totes are never small."""
    of_classes = {c: {name: -1.0 if c == 'Tote' and '_s' in name else rng.random() for name in names} for c in classes}
    return {'values': {name: rng.random() for name in names}, 'classes': of_classes}


def details(rng: random.Random, classes: tuple[str, ...], kind: str) -> dict:
    falling = {overlap: sorted((rng.random() for _ in range(101)), reverse=True) for overlap in ('0.50', '0.75')}
    rates = {'objects': 40, 'masks': 38, 'under': 4, 'over': 3, 'under rate': 4 / 38, 'over rate': 3 / 40}
    return {
        'sizes': by_class(rng, SIZES, classes),
        'curves': dict.fromkeys(classes, falling),
        'errors': by_class(rng, ERRORS, classes),
        'segmentation': {'values': rates, 'classes': dict.fromkeys(classes, rates)} if kind == 'segm' else None,
    }


def evaluation(
    rng: random.Random, classes=CLASSES, kinds=('bbox', 'segm'), detailed=True, images=1500, objects=40
) -> dict:
    content = dict(images=images, objects=objects, max_dets=[1, 10, 100], iou_thrs=[k / 20 for k in range(10, 20)])
    content['scores'] = {kind: by_class(rng, SCORES + RECALLS, classes) for kind in kinds}
    if detailed:
        parts = {kind: details(rng, classes, kind) for kind in kinds}
        content['details'] = {'least_score': 0.3, 'max_dets': 100, 'kinds': parts}
    return {**content, 'faults': []}


def proof(passed: bool = True, on: str = 'mix-object-tote') -> dict:
    checks = [dict(name='ground truth scores 1.000: mask mAP', passed=passed, seen='all 1.000' if passed else '0.870')]
    checks.append(dict(name='classes swapped: seen', passed=None, seen='there is one class'))
    origin = dict(config='mine.py', ann_file=f'data/{on}/test.json', head='FCNMaskHead', images=3, objects=40)
    return dict(passed=passed, **origin, checks=checks)


def speed(rng: random.Random, device: str = 'a CPU') -> dict:
    bins = {name: dict(pictures=9, median=rng.random(), p90=1 + rng.random()) for name in ('5-10', '10-15', '100+')}
    overall = dict(pictures=27, median=rng.random(), p90=1 + rng.random())
    place = dict(device=device, kind='cpu', processes=2, threads=1, batch_size=1, warm_up=3)
    return dict(overall=overall, bins=bins, peak_memory=rng.randrange(10**9, 2 * 10**9), **place)


def metrics(seed: int, on: str = 'mix-object-tote', classes=CLASSES, **given: object) -> dict:
    """The content of metrics.json; ``given`` replaces parts of it."""
    rng = random.Random(f'{seed} {on}')
    content = dict(
        split='test',
        checkpoint='work_dirs/mine/epoch_2.pth',
        proof=proof(on=on),
        command=f'bash dist_test.sh configs/mine.py work_dirs/mine/epoch_2.pth 2 --eval bbox segm --tag {seed}',
        processes=2,
        parameters=rng.randrange(10**6, 10**8),
        config='configs/mine.py',
        ann_file=f'data/armbench/{on}/test.json',
        dataset=dict(name=on, classes=list(classes), description=None, sha256=sha256(on.encode()).hexdigest()),
        date='2026-01-02T00:00:00+00:00',
        versions=VERSIONS,
        evaluations={'coco': evaluation(rng, classes)},
        speed=speed(rng),
    )
    return {**content, **given}


def log_rows(seed: int, epochs: int = 2) -> list[dict]:
    rng = random.Random(seed)
    rows = []
    for epoch in range(1, epochs + 1):
        rows += [
            dict(loss=3 * rng.random() + 1, epoch=epoch, iter=10 * epoch + i, step=10 * epoch + i) for i in (-5, 0)
        ]
        rows.append({'coco/bbox_mAP': rng.random(), 'coco/segm_mAP': rng.random(), 'step': epoch})
    return rows


def square(size: tuple[int, int], left: int) -> dict:
    """An object that covers a square, as RLE whose counts are a text."""
    mask = np.zeros(size, np.uint8, order='F')
    mask[10:30, left : left + 20] = 1
    rle = coco_mask.encode(mask)
    rle = dict(size=rle['size'], counts=rle['counts'].decode())
    return dict(bbox=[left, 10, 20, 20], category_id=1, segmentation=rle, iscrowd=0)


def write_examples(folder: Path, dataset: dict, ids: tuple[int, ...] = (1, 2)) -> None:
    (folder / 'examples').mkdir(parents=True, exist_ok=True)
    images = []
    for number, image_id in enumerate(ids):
        picture = f'examples/{number}.jpg'
        Image.new('RGB', (64, 48), (90, 120, 40 * number)).save(folder / picture)
        found = {**square((48, 64), 12), 'score': 0.9}
        entries = dict(annotations=[square((48, 64), 10)], predictions=[found])
        images.append(dict(id=image_id, file_name=f'{image_id}.jpg', width=64, height=48, picture=picture, **entries))
    content = dict(dataset=dataset, categories=[dict(id=1, name='Object')], images=images)
    (folder / 'examples.json').write_text(json.dumps(content))


def write_result(folder: Path, content: dict) -> None:
    """A test: metrics.json, examples.json and its pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'metrics.json').write_text(json.dumps(content))
    write_examples(folder, content['dataset'])


def write_run(folder: Path, seed: int = 0, subsets: tuple[str, ...] = (), **given: object) -> Path:
    """A run that was trained and tested, on its own data and on ``subsets``; ``given`` goes into metrics.json."""
    write_result(folder, metrics(seed, **given))
    for subset in subsets:
        write_result(folder / subset, metrics(seed, subset))
    vis_data = folder / '20260101_000000' / 'vis_data'
    vis_data.mkdir(parents=True)
    (vis_data / 'scalars.json').write_text('\n'.join(map(json.dumps, log_rows(seed))))
    start = dict(mode='train', command=f'bash dist_train.sh configs/mine.py 2 --seed {seed}', processes=2)
    start |= dict(started='2026-01-01T00:00:00+00:00', finished='2026-01-01T01:00:00+00:00', seconds=3600.0)
    start |= dict(config='configs/mine.py', versions=VERSIONS, device='a CPU', parameters=1, batch_size=2, seed=seed)
    (vis_data.parent / 'run.json').write_text(json.dumps(start))
    (folder / 'epoch_2.pth').touch()
    return folder


def load(folder: Path) -> dict:
    return json.loads((folder / 'metrics.json').read_text())


def old(content: dict) -> dict:
    """What metrics.json was before it named the data set, the command and the parameters."""
    return {key: it for key, it in content.items() if key not in ('command', 'processes', 'parameters', 'dataset')}


def change(path, **given) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **given}))


def missing(folder, tested=()) -> dict[str, str | None]:
    """The command by what is missing."""
    return {it.what: it.command for it in missing_of(read_run(folder, 'a'), tested)}
