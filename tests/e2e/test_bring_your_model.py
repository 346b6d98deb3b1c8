"""The commands that bring models and data of others here, and their report."""

import csv

import pytest
import torch

from tests.browser import open_page
from tests.e2e.documents import cases, run_block

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(('document', 'block'), cases('docs/bring_your_model.md'))
def test_a_block_of_commands_runs(checkout, document, block):
    run_block(checkout, block)


def test_a_converted_detector_scores_what_torchvisions_own_results_score(checkout):
    with (checkout / 'work_dirs/theirs_report/comparison.csv').open(encoding='utf-8') as file:
        rows = {row['run']: row for row in csv.DictReader(file)}
    assert set(rows) == {'theirs', 'torchvision', 'beside'}
    for name in ('bbox_mAP', 'bbox_mAP_50', 'segm_mAP', 'segm_mAP_50'):
        assert float(rows['theirs'][name]) == pytest.approx(float(rows['torchvision'][name]), abs=1e-4)
    told = torch.load(checkout / 'back.pth', weights_only=True)
    assert len(told) == 307 and 'roi_heads.mask_predictor.mask_fcn_logits.bias' in told


def test_its_report_beside_a_damamba_opens_in_a_browser(checkout, tmp_path):
    told, console = open_page(checkout / 'work_dirs/theirs_report/report.html', tmp_path)
    assert len(told['images']) > 5
    assert all(complete and width > 300 and alt for complete, width, alt in told['images'])
    assert told['problems'] == [] and 'CONSOLE' not in console
