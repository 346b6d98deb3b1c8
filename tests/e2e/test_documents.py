"""Every command of the documents, in order, since some need what earlier ones left.

Those on ARMBench need only the demo of these, and those on models and data of others nothing: they are in
test_armbench_documents.py and test_bring_your_model.py, which another process can run.
"""

import json
import re

import pytest

from tests.e2e.documents import cases, run_block

pytestmark = pytest.mark.e2e

CASES = cases(
    'README.md',
    'docs/install.md',
    'docs/commands.md',
    'docs/evaluation.md',
    'docs/diagnose.md',
    'docs/predict.md',
    'docs/explain.md',
    'docs/custom_dataset.md',
)


@pytest.mark.parametrize(('document', 'block'), CASES)
def test_a_block_of_commands_runs(checkout, document, block):
    run_block(checkout, block)


def test_they_left_what_the_documents_say(checkout):
    found = {str(path.relative_to(checkout)) for path in checkout.rglob('*') if path.is_file()}
    assert {'predictions.pkl', 'scores.json', 'work_dirs/mine/metrics.json'} <= found
    demo = {'metrics.json', 'curves.png', 'detections.png', 'predictions.segm.json'}
    assert {f'work_dirs/demo/{name}' for name in demo} <= found
    assert {f'work_dirs/mine_tuning/{name}' for name in ('best.py', 'trials.csv', 'history.png')} <= found
    assert any(re.fullmatch(r'work_dirs/mine/\d+_\d+/pictures/.*\.jpg', name) for name in found)
    assert any(re.fullmatch(r'tiny-[0-9a-f]{8}\.pth', name) for name in found)


def test_the_diagnosis_of_the_documents_says_what_they_say(checkout):
    explanations = json.loads((checkout / 'diagnosis.json').read_text())['explanations']
    assert explanations[0]['faults'] == ['ids-shifted', 'masks-flattened'] and explanations[0]['mAP'] > 0.5
    report = (checkout / 'work_dirs/foreign/report.md').read_text()
    assert 'diagnosed: nothing found' in report and explanations[0]['sentence'][:40] in report
    assert (checkout / 'before_after.png').stat().st_size > 10_000
