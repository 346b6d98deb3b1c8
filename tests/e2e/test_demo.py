"""The demo, in full: from nothing to a detector that is worth looking at."""

import json

import cv2
import pytest

from tests.detection import ROOT
from tests.e2e.shell import run

pytestmark = pytest.mark.e2e


def test_the_demo_reaches_half_of_everything_and_draws_it(tmp_path):
    output = run(['make', 'demo', f'ARGS=--data-root {tmp_path}/shapes --work-dir {tmp_path}/demo'])
    result = json.loads((tmp_path / 'demo/metrics.json').read_text())
    assert result['split'] == 'test' and result['evaluations']['coco']['images'] >= 100
    assert result['metrics']['coco/bbox_mAP'] >= 0.5 and result['metrics']['coco/segm_mAP'] >= 0.5
    for name in ('curves.png', 'detections.png', 'metrics.json'):
        assert f'{tmp_path}/demo/{name}' in output.replace('\n', '')
    for name in ('curves.png', 'detections.png'):
        assert min(cv2.imread(str(tmp_path / 'demo' / name)).shape[:2]) > 400


def test_an_interrupted_demo_goes_on(tmp_path):
    small = f'--images 8 --val-images 4 --data-root {tmp_path}/shapes --work-dir {tmp_path}/demo'
    run(['make', '--assume-old=install', 'demo', f'ARGS={small} --epochs 1'], ROOT)
    output = run(['make', '--assume-old=install', 'demo', f'ARGS={small} --epochs 2 --resume'], ROOT)
    assert 'it was there already' in output and 'resumed epoch: 1' in output
    assert (tmp_path / 'demo/epoch_2.pth').is_file()
