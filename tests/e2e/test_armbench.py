"""ARMBench's stand-in, as its document goes through it, in full for the small DAMamba."""

import json

import pytest

from tests.e2e.shell import bash, run

pytestmark = [pytest.mark.e2e, pytest.mark.long]

CONFIG = 'configs/armbench/mask_rcnn_DAMamba_nano_fpn_armbench_demo.py'
SUBSETS = ('mix-object-tote', 'zoomed-out-tote-transfer-set', 'same-object-transfer-set')


@pytest.fixture(scope='module')
def results(demo_weights, armbench_data, tmp_path_factory):
    """metrics.json of the test on each subset, by a detector fine-tuned from the demo's."""
    folder = tmp_path_factory.mktemp('armbench')
    data = armbench_data
    run(['python', 'tools/check_dataset.py', str(data)])
    options = [f'data_root={data}', f'load_from={demo_weights}']
    bash('dist_train.sh', CONFIG, 2, '--work-dir', folder / 'run', '--cfg-options', *options)
    found = {}
    for subset in SUBSETS:
        own = folder / 'run' / subset if found else folder / 'run'  # of mix-object-tote in the run's own
        settings = [f'data_root={data}', f'test_subset={subset}']
        flags = ['--eval', 'bbox', 'segm', '--prove', '--work-dir', folder / 'run', '--cfg-options', *settings]
        bash('dist_test.sh', CONFIG, folder / 'run/epoch_16.pth', 2, *flags)
        found[subset] = json.loads((own / 'metrics.json').read_text())
    return found


def object_ap50(result):
    return result['evaluations']['coco']['scores']['segm']['classes']['Object']['mAP_50']


def test_half_of_the_objects_masks_are_found_on_mix_and_less_elsewhere(results):
    mix, zoomed, same = (object_ap50(results[subset]) for subset in SUBSETS)
    assert mix >= 0.5
    assert zoomed < mix
    assert same < mix


def test_each_evaluation_is_proved_on_its_own_ground_truth(results):
    for subset, result in results.items():
        assert result['proof']['passed']
        assert subset in result['proof']['ann_file']
        claims = {check['name']: check['seen'] for check in result['proof']['checks']}
        assert claims['ground truth scores 1.000: mask mAP'].startswith('all 1.000, Object 1.000')


def test_each_says_what_people_who_pick_want_to_know(results):
    for subset, result in results.items():
        details = result['evaluations']['coco']['details']['kinds']['segm']
        assert set(details) >= {'sizes', 'curves', 'errors', 'confusion', 'segmentation', 'picks'}
        assert details['picks']['values']['on an object'] > 0.5
        assert result['speed']['overall']['median'] > 0
        assert result['speed']['peak_memory'] < 4e9
        assert ('Tote' in result['evaluations']['coco']['scores']['segm']['classes']) == (subset != SUBSETS[2])
