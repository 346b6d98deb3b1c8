"""ARMBench's segmentation data: pictures of totes full of unlike objects (arXiv 2303.16382, CC BY 4.0).

    armbench-segmentation-0.1/
      mix-object-tote/               images/*.jpg  train.json  val.json  test.json
      zoomed-out-tote-transfer-set/  the same: the camera further away
      same-object-transfer-set/      the same: one object, repeated

The files are in COCO's format, with categories Tote and Object; the last subset has Object alone.
"""

from damamba.datasets.named import NamedCocoDataset

SUBSETS = ('mix-object-tote', 'zoomed-out-tote-transfer-set', 'same-object-transfer-set')
CLASSES = ('Object', 'Tote')


class ARMBenchDataset(NamedCocoDataset):
    """One split of one subset: ``ann_file='mix-object-tote/train.json'``, ``data_prefix=dict(img=...)``.

    Labels are (Object, Tote); with ``metainfo=dict(classes=('Object',))`` totes are left out.
    """

    METAINFO = dict(classes=CLASSES, palette=[(0, 165, 165), (240, 130, 40)], by_name=True)
