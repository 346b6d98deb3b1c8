"""Convert the labels of another tool, with their pictures, to COCO: YOLO, LabelMe, Supervisely, and others.

Or to YOLO. The format is recognised. What was read, left out and written is counted; nothing is dropped in silence, and
the source is left as it is.
"""

import argparse
import sys
from pathlib import Path

from damamba.cli.commands import command_parser
from damamba.cli.console import progress, say
from damamba.datasets.conversion import FORMATS, WRITERS, Conversion, ConversionError, Options, convert
from damamba.datasets.conversion.counting import reasons_of, table_of
from damamba.datasets.inspection import inspect_dataset
from damamba.datasets.inspection.printout import format_verdict
from damamba.tables import printable

CONFIG = """\
_base_ = './mask_rcnn_DAMamba_tiny_fpn_1x_coco.py'
{hint}
data_root = {root!r}
classes = {classes!r}
dataset = dict(data_root=data_root, metainfo=dict(classes=classes))
train_dataloader = dict(dataset=dict(ann_file={train!r}, data_prefix=dict(img={train_images!r}), **dataset))
val_dataloader = dict(dataset=dict(ann_file={val!r}, data_prefix=dict(img={val_images!r}), **dataset))
test_dataloader = val_dataloader
model = dict(
    roi_head=dict(bbox_head=dict(num_classes=len(classes)), mask_head=dict(num_classes=len(classes))),
)
"""
ONE_SPLIT = '# It is validated on what it is trained on: tools/split_data.py makes parts of a set.\n'
BOXES = (
    'a box and no mask: a training of masks leaves them out; --boxes-as-masks takes the rectangle of each for its mask'
)
MIXED = 'a box alone: Ultralytics takes no outlines from a set of both; --boxes-as-masks gives them one'


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser('convert-data', __doc__)
    parser.add_argument('source', type=Path, metavar='SRC', help='the folder of the labels and the pictures')
    parser.add_argument('target', type=Path, metavar='DST', help='the folder to write: a new or an empty one')
    titles = ', '.join(f'{name} ({it.title})' for name, it in FORMATS.items())
    parser.add_argument('--from', dest='source_format', choices=list(FORMATS), help=f'by default recognised: {titles}')
    to = 'the format to write: COCO, or YOLO with outlines, or with boxes (default: coco)'
    parser.add_argument('--to', dest='target_format', choices=list(WRITERS), default='coco', help=to)
    names = 'the classes that are wanted, in order; of a source that does not name its classes, their names'
    parser.add_argument('--classes', nargs='+', default=[], metavar='NAME', help=names)
    boxes = 'give objects that have a box alone its rectangle as their mask'
    parser.add_argument('--boxes-as-masks', action='store_true', help=boxes)
    copy = 'copy the pictures; by default they are the same files under a second name, where the disk allows that'
    parser.add_argument('--copy', action='store_true', help=copy)
    follow = 'read pictures too to which links lead out of SRC'
    parser.add_argument('--follow-links', action='store_true', help=follow)
    values = 'what a value in pictures of labels is: an object, or a class, each of whose connected pieces is an object'
    parser.add_argument('--values', choices=['objects', 'classes'], help=values)
    mapped = 'JSON or CSV with the class of each value in pictures of labels, such as a line a.png,1,cat'
    parser.add_argument('--class-map', type=Path, metavar='FILE', help=mapped)
    crowds = 'leave masks crowds that CVAT marks as such, which are all that were painted'
    parser.add_argument('--keep-crowds', action='store_true', help=crowds)
    return parser.parse_args(argv)


def printed(done: Conversion, target: Path) -> str:
    """What came along, what did not, and why."""
    table = table_of(done.categories, done.read, done.left_out, done.written).text()
    lines = [f'{FORMATS[done.source].title}: {done.why}', '', table.rstrip()]
    reasons = reasons_of(done.left_out)
    lines += ['', 'Left out', *(f'  {reason}' for reason in reasons)] if reasons else []
    notes = list(done.notes)
    if done.written.boxes and done.target != 'yolo':
        who = '1 object has' if done.written.boxes == 1 else f'{done.written.boxes:,} objects have'
        notes.append(f'{who} {BOXES if done.target == "coco" else MIXED}')
    lines += ['', 'Notes', *(f'  {note}' for note in notes)] if notes else []
    return printable('\n'.join([*lines, '', f'path  {target}']))


def config_of(done: Conversion, target: Path) -> str:
    """The config of a training on what was written: its own validation set, or else what it is trained on."""
    train = next((it for it in ('train', 'all') if it in done.written.splits), next(iter(done.written.splits)))
    val = next((it for it in ('val', 'test') if it in done.written.splits), train)
    files = {name: f'annotations/instances_{split}.json' for name, split in (('train', train), ('val', val))}
    root, classes = f'{target.as_posix()}/', tuple(done.categories)
    hint = ONE_SPLIT if train == val else ''
    return CONFIG.format(hint=hint, root=root, classes=classes, train_images=f'{train}/', val_images=f'{val}/', **files)


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    args = parse(argv)
    flags = args.boxes_as_masks, args.follow_links, args.values, args.class_map, args.keep_crowds
    options = Options(tuple(args.classes), *flags)
    formats = args.source_format, args.target_format
    try:
        with progress('converting', 'converting pictures') as show:
            done = convert(args.source, args.target, *formats, options, args.copy, on_picture=lambda n: show(n, None))
        say(printed(done, args.target))
        if done.target == 'coco':
            with progress('reading', 'looking at pictures') as show:
                inspection = inspect_dataset(args.target, on_picture=show)
            config = config_of(done, args.target)
            say(f'\n{format_verdict(inspection)}\n\nA config for configs/, to train on it:\n\n{config}'.rstrip())
    except (ConversionError, OSError) as error:
        sys.exit(f'error: {error}')
