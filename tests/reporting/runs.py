"""Work folders as runs leave them, with random but fixed figures; and a report's tables, read again."""

import csv
import json
import random
import re
from hashlib import sha256
from html import unescape
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from damamba.reporting.missing import missing_of
from damamba.reporting.runs import read_run

MIX, ZOOMED, SAME = 'mix-object-tote', 'zoomed-out-tote-transfer-set', 'same-object-transfer-set'
CLASSES = ('Object', 'Tote')
SCORES = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
RECALLS = ('AR@1', 'AR@10', 'AR@100', 'AR_s@100', 'AR_m@100', 'AR_l@100')
SIZES = ('mAP_s', 'mAP_m', 'mAP_l', 'AR_s@100', 'AR_m@100', 'AR_l@100')
ERRORS = ('AP50', 'classification', 'localisation', 'duplicate', 'missed', 'false positives', 'false negatives')
VERSIONS = {'damamba': '0.1.0', 'torch': '2.11.0', 'mmdet': '3.5.1'}
CHARTS = ('losses', 'validation', 'overview', 'figures', 'precision_recall', 'latency', 'errors', 'examples')
FAULTS = [{'name': 'shifted', 'evidence': '9 of 9 detections have the next id'}]
COCO, FOCUS = 'evaluations.coco', 'evaluations.coco.scores.segm.classes.Object.mAP'


def by_class(rng: random.Random, names: tuple[str, ...], classes: tuple[str, ...]) -> dict:
    """Figures by name, and the same of each class; totes are never small."""
    of_classes = {c: {name: -1.0 if c == 'Tote' and '_s' in name else rng.random() for name in names} for c in classes}
    return {'values': {name: rng.random() for name in names}, 'classes': of_classes}


def details(rng: random.Random, classes: tuple[str, ...], kind: str) -> dict:
    falling = {overlap: sorted((rng.random() for _ in range(101)), reverse=True) for overlap in ('0.50', '0.75')}
    rates = {'objects': 40, 'masks': 38, 'under': 4, 'over': 3, 'under rate': 4 / 38, 'over rate': 3 / 40}
    picks = {'pick score': rng.random(), 'on top': rng.random(), 'on an object': rng.random(), 'on none': rng.random()}
    picks |= {'called empty': rng.random(), 'seen empty': -1.0, 'totes': 39, 'empty totes': 0}
    return {
        'sizes': by_class(rng, SIZES, classes),
        'curves': dict.fromkeys(classes, falling),
        'errors': by_class(rng, ERRORS, classes),
        'segmentation': {'values': rates, 'classes': dict.fromkeys(classes, rates)} if kind == 'segm' else None,
        'picks': {'values': picks} if kind == 'segm' and {*classes} <= {*CLASSES} else None,
    }


def evaluation(rng: random.Random, classes=CLASSES, kinds=('bbox', 'segm'), images=1500) -> dict:
    iou_thrs = [k / 20 for k in range(10, 20)]
    content = dict(images=images, objects=40, max_dets=[1, 10, 100], iou_thrs=iou_thrs, faults=[])
    content['scores'] = {kind: by_class(rng, SCORES + RECALLS, classes) for kind in kinds}
    return {**content, 'details': {'kinds': {kind: details(rng, classes, kind) for kind in kinds}}}


def proof(passed: bool = True, on: str = MIX) -> dict:
    checks = [dict(name='ground truth scores 1.000: mask mAP', passed=passed, seen='all 1.000' if passed else '0.870')]
    checks.append(dict(name='classes swapped: seen', passed=None, seen='there is one class'))
    return dict(passed=passed, ann_file=f'data/{on}/test.json', head='FCNMaskHead', images=3, objects=40, checks=checks)


def speed(rng: random.Random, device: str = 'a CPU') -> dict:
    bins = {name: dict(pictures=9, median=rng.random(), p90=1 + rng.random()) for name in ('5-10', '10-15', '100+')}
    overall = dict(pictures=27, median=rng.random(), p90=1 + rng.random())
    place = dict(device=device, kind='cpu', processes=2, threads=1, batch_size=1)
    return dict(overall=overall, bins=bins, peak_memory=rng.randrange(10**9, 2 * 10**9), **place)


def metrics(seed: int, on: str = MIX, classes=CLASSES, **given: object) -> dict:
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


def log_rows(seed: int) -> list[dict]:
    """Two epochs of ten iterations."""
    rng, rows = random.Random(seed), []
    for epoch in (1, 2):
        steps = (10 * epoch - 5, 10 * epoch)
        rows += [dict(loss=3 * rng.random() + 1, epoch=epoch, iter=step, step=step) for step in steps]
        rows.append({'coco/bbox_mAP': rng.random(), 'coco/segm_mAP': rng.random(), 'step': epoch})
    return rows


def square(left: int) -> dict:
    """An object that covers a square, as RLE whose counts are a text."""
    mask = np.zeros((48, 64), np.uint8, order='F')
    mask[10:30, left : left + 20] = 1
    rle = coco_mask.encode(mask)
    mask = dict(size=rle['size'], counts=rle['counts'].decode())
    return dict(bbox=[left, 10, 20, 20], category_id=1, segmentation=mask, iscrowd=0)


def write_examples(folder: Path, dataset: dict, ids: tuple[int, ...] = (1, 2)) -> None:
    (folder / 'examples').mkdir(parents=True, exist_ok=True)
    images = []
    for number, image_id in enumerate(ids):
        picture = f'examples/{number}.jpg'
        Image.new('RGB', (64, 48), (90, 120, 40 * number)).save(folder / picture)
        entries = dict(annotations=[square(10)], predictions=[{**square(12), 'score': 0.9}])
        images.append(dict(id=image_id, width=64, height=48, picture=picture, **entries))
    (folder / 'examples.json').write_text(json.dumps(dict(dataset=dataset, images=images)))


def write_ground_truth(path: Path, pictures: int = 8) -> Path:
    """Pictures of 64 x 48 pixels, each a tote with two objects, as polygons; the pictures of examples among them."""
    images = [dict(id=n, file_name=f'{n}.jpg', width=64, height=48) for n in range(1, pictures + 1)]
    annotations = []
    for number in range(1, pictures + 1):
        boxes = (2, 4, 58, 42), (8, 10, 12 + number, 14), (34, 20, 16, 8 + number)
        for category, (x, y, w, h) in zip((2, 1, 1), boxes, strict=True):
            outline = [x, y, x + w, y, x + w, y + h, x, y + h]
            annotations.append(dict(id=len(annotations) + 1, image_id=number, category_id=category, iscrowd=0))
            annotations[-1] |= dict(bbox=[x, y, w, h], area=w * h, segmentation=[outline])
    categories = [dict(id=place, name=name) for place, name in enumerate(CLASSES, 1)]
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))
    return path


def predictions_for(path: Path, seed: int = 0) -> list[dict]:
    """COCO results, boxes and masks, that lie a little beside most objects of a ground truth; some are guesses."""
    rng, document, entries = random.Random(seed), json.loads(path.read_text()), []
    for it in document['annotations']:
        x, y, w, h = it['bbox']
        left, score = x + rng.uniform(-2, 2), rng.uniform(0.3, 1)
        box = [left, y, w, h] if rng.random() < 0.8 else [rng.uniform(0, 30), 5, 12, 30]
        x, y, w, h = box
        mask = coco_mask.frPyObjects([[x, y, x + w, y, x + w, y + h, x, y + h]], 48, 64)[0]
        mask = dict(size=mask['size'], counts=mask['counts'].decode())
        entries.append(dict(image_id=it['image_id'], category_id=it['category_id'], bbox=box, score=score))
        entries[-1]['segmentation'] = mask
    return entries


def hold_against(folder: Path, truth: Path) -> None:
    """Let metrics.json be of this ground truth."""
    document = json.loads(truth.read_text())
    facts = {'images': len(document['images']), 'objects': len(document['annotations'])}
    facts['iou_thrs'] = np.linspace(0.5, 0.95, 10).tolist()
    changes = {f'{COCO}.{key}': it for key, it in facts.items()}
    digest = sha256(truth.read_bytes()).hexdigest()
    edit(folder, {**changes, 'ann_file': str(truth), 'dataset.sha256': digest, 'proof.ann_file': str(truth)})
    edit(folder / 'examples.json', {'dataset.sha256': digest})


def write_draws(folder: Path, swing: float = 0.0) -> None:
    """Beside metrics.json, draws that are spread evenly around each mAP, by so much to each side."""
    around, draws = swing * np.linspace(-1, 1, 1000)[:, None], {}
    for prefix, evaluation in load(folder)['evaluations'].items():
        for kind, scores in evaluation['scores'].items():
            values = [scores['values']['mAP'], *(it['mAP'] for it in scores['classes'].values())]
            draws[f'{prefix}/{kind}'] = np.float32(np.array(values) + around)
    np.savez(folder / 'draws.npz', **draws)


def write_result(folder: Path, content: dict) -> None:
    """A test: metrics.json and its draws, examples.json and its pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'metrics.json').write_text(json.dumps(content))
    write_draws(folder)
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


def three(tmp_path: Path, subsets: tuple[str, ...] = ()) -> list[Path]:
    return [write_run(tmp_path / name, seed, subsets) for seed, name in enumerate(('first', 'second', 'third'))]


def load(folder: Path) -> dict:
    return json.loads((folder / 'metrics.json').read_text())


def edit(path: Path, changes: dict[str, object]) -> None:
    """Set values of a JSON file, by default of metrics.json, by their keys with dots between; ``...`` deletes."""
    path = path / 'metrics.json' if path.is_dir() else path
    content = json.loads(path.read_text())
    for keys, value in changes.items():
        part = content
        *outer, last = keys.split('.')
        for key in outer:
            part = part[int(key) if isinstance(part, list) else key]
        if value is ...:
            del part[last]
        else:
            part[last] = value
    path.write_text(json.dumps(content))


def old(content: dict) -> dict:
    """What metrics.json was before it named the data set, the command and the parameters."""
    return {key: it for key, it in content.items() if key not in ('command', 'processes', 'parameters', 'dataset')}


def missing(folder: Path, tested=()) -> dict[str, str | None]:
    """The command by what is missing."""
    return {it.what: it.command for it in missing_of(read_run(folder, 'a'), tested)}


def csv_rows(path: Path) -> list[dict]:
    with path.open(newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def tables_of(out: Path) -> dict[str, list]:
    """The tables of a page by their captions: rows of [text, value] for each cell."""
    text = (out / 'report.html').read_text(encoding='utf-8')
    tables = {}
    for caption, table in re.findall(r'<caption[^>]*>(.*?)</caption>(.*?)</table>', text, re.DOTALL):
        rows = re.findall(r'<tr.*?</tr>', table, re.DOTALL)
        cells = [re.findall(r'<t[hd][^>]*>(?:<data value="(.*?)">)?(.*?)</t[hd]>', row, re.DOTALL) for row in rows]
        tables[unescape(caption)] = [[[unescape(re.sub('<.*?>', '', it)), value] for value, it in row] for row in cells]
    return tables
