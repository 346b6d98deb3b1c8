"""ARMBench's segmentation data: pictures of totes full of unlike objects (arXiv 2303.16382, CC BY 4.0).

    armbench-segmentation-0.1/
      mix-object-tote/               images/*.jpg  train.json  val.json  test.json
      zoomed-out-tote-transfer-set/  the same: the camera further away
      same-object-transfer-set/      the same: one object, repeated

The files are in COCO's format, with categories Tote and Object; the last subset has Object alone.
"""

import logging
import os

from damamba.datasets.named import NamedCocoDataset

logger = logging.getLogger(__name__)

CLASSES = ('Object', 'Tote')


class ARMBenchDataset(NamedCocoDataset):
    """One split of one subset: ``ann_file='mix-object-tote/train.json'``, ``data_prefix=dict(img=...)``.

    Labels are (Object, Tote); with ``metainfo=dict(classes=('Object',))`` totes are left out. Where there is no
    test.json, val.json stands in for it, and the log says so.
    """

    METAINFO = dict(classes=CLASSES, palette=[(0, 165, 165), (240, 130, 40)], by_name=True)

    def _join_prefix(self) -> None:
        super()._join_prefix()
        path, self.ann_file = self.ann_file, existing_file(self.ann_file)
        if path != self.ann_file:
            logger.warning('%s is not there: testing on %s', path, self.ann_file)


def existing_file(path: str) -> str:
    """A split's annotations: those of val.json where a subset has come without its test.json."""
    other = os.path.join(os.path.dirname(path), 'val.json')
    stands_in = os.path.basename(path) == 'test.json' and not os.path.exists(path) and os.path.exists(other)
    return other if stands_in else path
