from damamba.evaluation.coco import CocoInstanceMetric

META = dict(classes=('person', 'bicycle', 'car'))


def metric(coco, **options) -> CocoInstanceMetric:
    result = CocoInstanceMetric(
        ann_file=str(coco / 'annotations/instances_val2017.json'), metric=['bbox', 'segm'], **options
    )
    result.dataset_meta = META
    return result


def nothing(image_id: int) -> tuple[dict, dict]:
    import numpy as np

    empty = dict(bboxes=np.zeros((0, 4)), scores=np.zeros(0), labels=np.zeros(0, int), masks=[])
    return dict(img_id=image_id, ori_shape=(96, 128)), dict(img_id=image_id, **empty)


def test_no_detection_at_all_is_an_map_of_zero(coco):
    metrics = metric(coco).compute_metrics([nothing(i) for i in (1, 2, 3)])
    assert metrics['bbox_mAP'] == metrics['segm_mAP'] == metrics['segm_mAP_50'] == 0.0
    assert len(metrics) == 12


def test_only_the_items_asked_for_are_filled(coco):
    metrics = metric(coco, metric_items=['mAP', 'mAP_50']).compute_metrics([nothing(1)])
    assert sorted(metrics) == ['bbox_mAP', 'bbox_mAP_50', 'segm_mAP', 'segm_mAP_50']


def test_writing_results_alone_measures_nothing(coco, tmp_path):
    writer = metric(coco, format_only=True, outfile_prefix=str(tmp_path / 'results'))
    assert not writer.compute_metrics([nothing(1)])
    assert (tmp_path / 'results.bbox.json').is_file()
