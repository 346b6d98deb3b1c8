"""COCO evaluation whose numbers are always there."""

from mmdet.evaluation.metrics import CocoMetric

MAP_ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')


class CocoInstanceMetric(CocoMetric):
    """COCO's box and mask mAP; a model that detects nothing at all has an mAP of 0, not none."""

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return ``{'bbox_mAP': ..., 'segm_mAP': ...}`` and so on, of the metrics asked for."""
        metrics = super().compute_metrics(results)
        if self.format_only:
            return metrics
        for metric in self.metrics:
            if metric in ('bbox', 'segm'):
                for item in self.metric_items or MAP_ITEMS:
                    metrics.setdefault(f'{metric}_{item}', 0.0)
        return metrics
