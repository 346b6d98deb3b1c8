"""Figures that others have published, each with its source: to stand beside measured ones, never among them."""

from dataclasses import dataclass, field

from damamba.reporting.runs import Result
from damamba.reporting.sections import Section
from damamba.reporting.sheets import Column, Sheet, Value
from damamba.reporting.words import counted

TAG = 'published, not measured here'
DAMAMBA = 'DAMamba, arXiv 2502.12627 and its repository'
MMDET = "MMDetection's model zoo"
ARMBENCH = 'ARMBench, arXiv 2303.16382'
STUDY = 'a student study that this project took over'
BOXES = 'boxes were scored as if they were masks'
SHIFTED = 'category ids were off by one, and masks were flattened into one map of labels: it could not prove itself'


@dataclass(frozen=True)
class Published:
    """One system's figures, as texts with the digits that were published; ``mask`` goes by mAP, AP50, AP75."""

    dataset: str
    system: str
    source: str
    mask: dict[str, str] = field(default_factory=dict)
    box: str = ''
    remark: str = ''


def _coco(system: str, source: str, box: str, mask: str, remark: str) -> Published:
    return Published('instances_val2017', system, source, {'mAP': mask}, box, remark)


def _armbench(system: str, source: str, remark: str, **by_dataset: tuple[str, str]) -> list[Published]:
    """AP50 and AP75 on each subset."""
    names = {'mix': 'mix-object-tote', 'zoomed': 'zoomed-out-tote-transfer-set', 'same': 'same-object-transfer-set'}
    return [
        Published(names[key], system, source, {'AP50': ap50, 'AP75': ap75}, remark=remark)
        for key, (ap50, ap75) in by_dataset.items()
    ]


TRAINED = 'trained on mix-object-tote'
PUBLISHED = (
    _coco('DAMamba tiny, Mask R-CNN', DAMAMBA, '0.485', '0.434', '12 epochs'),
    _coco('DAMamba small, Mask R-CNN', DAMAMBA, '0.498', '0.445', '12 epochs'),
    _coco('DAMamba base, Mask R-CNN', DAMAMBA, '0.506', '0.449', '12 epochs'),
    _coco('DAMamba tiny, Mask R-CNN', DAMAMBA, '0.504', '0.448', '36 epochs, several scales'),
    _coco('DAMamba small, Mask R-CNN', DAMAMBA, '0.512', '0.451', '36 epochs, several scales'),
    _coco('DAMamba base, Mask R-CNN', DAMAMBA, '0.514', '0.453', '36 epochs, several scales'),
    _coco('ResNet-50, Mask R-CNN', MMDET, '0.382', '0.347', '12 epochs'),
    _coco('ResNet-50, Mask R-CNN', MMDET, '0.392', '0.354', '24 epochs'),
    _coco('ResNet-50, Mask R-CNN', MMDET, '0.409', '0.371', '36 epochs, several scales'),
    *_armbench(
        'ResNet-50, Mask R-CNN', ARMBENCH, TRAINED, mix=('0.72', '0.61'), zoomed=('0.25', '0.19'), same=('0.11', '0.10')
    ),
    *_armbench(
        'SAM with DETR',
        'a user of ARMBench',
        TRAINED,
        mix=('0.86', '0.76'),
        zoomed=('0.12', '0.08'),
        same=('0.24', '0.22'),
    ),
    *_armbench('RISE', 'arXiv 2407.01302', f'{TRAINED}; its AP75 is not known here', mix=('0.864', '')),
    Published(
        'mix-object-tote',
        'ResNet-50, Mask R-CNN',
        STUDY,
        {'mAP': '0.5422', 'AP50': '0.6971', 'AP75': '0.5389'},
        remark=f'no mask mAP: {BOXES}',
    ),
    Published(
        'mix-object-tote',
        'Swin-B, Mask2Former',
        STUDY,
        {'mAP': '0.0001', 'AP50': '0.0007', 'AP75': '0.0000'},
        remark=f'no measure of the model: {SHIFTED}',
    ),
)
COLUMNS = (
    Column('data set', hidden=True),
    Column('run', 'system'),
    Column('mAP', group='masks'),
    Column('AP50', group='masks'),
    Column('AP75', group='masks'),
    Column('box mAP'),
    Column('whose', 'measured'),
    Column('source'),
    Column('remark'),
)
KEYS = {'mAP': 'mAP', 'AP50': 'mAP_50', 'AP75': 'mAP_75'}


COCO = (5000, 80)  # pictures and classes; data sets of other scenes have files of COCO's names
# Pictures of a test on the real ones. How many of the 44,253 of the mixed totes are its test set's is not said where
# the figures are: a subset of a thousand or more can be it, a sample or a set of the same name is smaller.
LEAST = {'mix-object-tote': 1000, 'zoomed-out-tote-transfer-set': 1000}
EXACTLY = {'same-object-transfer-set': (507, 496)}  # its test set, and its validation set


def published_for(section: Section) -> list[Published]:
    """What is known of the data set of a section, by its name."""
    names = {result.dataset.name for result in section.results}
    is_coco = (section.results[0].evaluation['images'], len(section.classes)) == COCO
    return [it for it in PUBLISHED if it.dataset in names and (is_coco or it.dataset != 'instances_val2017')]


def is_whole(section: Section) -> bool:
    """Whether it has as many pictures as what the published figures are of."""
    images, name = section.results[0].evaluation['images'], section.results[0].dataset.name
    return images >= LEAST.get(name, 0) and images in EXACTLY.get(name, (images,))


def published_sheet(section: Section) -> Sheet | None:
    """Published figures below those of the runs; alone on drawn or few pictures; None where nothing was published."""
    found = published_for(section)
    if not found:
        return None
    alone = section.drawn or not is_whole(section)
    rows = [] if alone else [row for result in section.results for row in _measured(section, result)]
    note = 'Published figures are copied, with the digits that were published; nobody measured them here.'
    if section.drawn:
        note = (
            'The published figures are of the real pictures. The runs here were tested on drawn ones, a stand-in of '
            'the same layout: the two do not compare, and no run of this report stands in this table.'
        )
    elif alone:
        note = (
            f'The published figures are of the whole data set. The runs here were tested on '
            f'{counted(section.results[0].evaluation["images"], "picture")}, which are not all of it: the two do not '
            f'compare, and no run of this report stands in this table.'
        )
    return Sheet(
        'published', f'Published figures: {section.label}', COLUMNS, [*rows, *(_row(section, it) for it in found)], note
    )


def _measured(section: Section, result: Result) -> list[dict[str, Value]]:
    """A run's mean over classes, and above it the class in focus."""
    scores = result.evaluation['scores']
    rows = []
    for focus in dict.fromkeys((section.focus, None)):
        masks, boxes = ((scores.get(k) or {}) for k in ('segm', 'bbox'))
        masks, boxes = (
            (it.get('classes', {}).get(focus, {}) if focus else it.get('values', {})) for it in (masks, boxes)
        )
        row = {'data set': section.label, 'run': result.run, 'whose': 'here', 'box mAP': boxes.get('mAP')}
        row |= {key: masks.get(name) for key, name in KEYS.items()}
        rows.append(row | {'remark': focus or ('mean of all classes' if section.focus else '')})
    return rows


def _row(section: Section, it: Published) -> dict[str, Value]:
    row: dict[str, Value] = {'data set': section.label, 'run': it.system, 'box mAP': it.box or None}
    row |= {key: it.mask.get(key) or None for key in KEYS}
    return row | {'whose': TAG, 'source': it.source, 'remark': it.remark}
