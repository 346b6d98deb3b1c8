"""The documents' commands on ARMBench, its report and its study, in order, after the demo whose weights they take."""

import csv
import json

import pytest

from tests.browser import open_page
from tests.e2e.documents import cases, run_block

pytestmark = pytest.mark.e2e

DEMO = [case for case in cases('README.md') if 'make demo\n' in case.values[1]]
CASES = [*DEMO, *cases('docs/armbench.md', 'docs/report.md', 'docs/tuning.md')]


@pytest.mark.parametrize(('document', 'block'), CASES)
def test_a_block_of_commands_runs(checkout, document, block):
    run_block(checkout, block)


FAMILIES = {
    'DAMamba, nano': 'mask_rcnn_DAMamba_nano_fpn',
    'ResNet-50': 'mask_rcnn_r50_fpn',
    'Mask2Former, Swin-B': 'mask2former_swin-b-p4-w12-384',
}
SUBSETS = ('mix-object-tote', 'zoomed-out-tote-transfer-set', 'same-object-transfer-set')


def metrics_of(checkout, family, subset):
    folder = checkout / f'work_dirs/{family}_armbench_demo'
    return json.loads(((folder if subset == SUBSETS[0] else folder / subset) / 'metrics.json').read_text())


def test_the_report_of_three_families_has_their_figures_to_the_last_digit(checkout):
    rows = list(csv.DictReader((checkout / 'work_dirs/report/comparison.csv').open(encoding='utf-8')))
    assert sorted((row['run'], row['data set']) for row in rows) == sorted((r, s) for r in FAMILIES for s in SUBSETS)
    for row in rows:
        metrics = metrics_of(checkout, FAMILIES[row['run']], row['data set'])
        scores = metrics['evaluations']['coco']['scores']
        for kind in ('bbox', 'segm'):
            for name in ('mAP', 'mAP_50', 'mAP_75'):
                assert float(row[f'{kind}_{name}']) == scores[kind]['values'][name]
        assert row['Object segm_mAP'] in ('', repr(scores['segm']['classes']['Object']['mAP']))
        speed = metrics.get('speed')  # of a test set that the first, unmeasured iterations do not exhaust
        assert row['seconds'] == (repr(speed['overall']['median']) if speed else '')
        assert row['proof'] == 'proved'


def test_the_report_opens_in_a_browser_with_every_picture(checkout, tmp_path):
    told, console = open_page(checkout / 'work_dirs/report/report.html', tmp_path)
    assert len(told['images']) == len(list((checkout / 'work_dirs/report').glob('*.png'))) >= 15
    assert all(complete and width > 300 and alt for complete, width, alt in told['images'])
    assert told['problems'] == [] and 'CONSOLE' not in console


def test_they_left_what_the_documents_say(checkout):
    for family in FAMILIES.values():
        for subset in SUBSETS:
            assert metrics_of(checkout, family, subset)['proof']['passed']
    study = checkout / 'work_dirs/mask_rcnn_DAMamba_nano_fpn_armbench_demo_tuning'
    assert all((study / name).is_file() for name in ('best.py', 'trials.csv', 'history.png'))
