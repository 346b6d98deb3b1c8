"""Draw what a config feeds its model: pictures after the pipeline, with the masks, boxes and classes of their objects.

What comes later is not shown: normalisation, and the padding of pictures to a batch.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import supervision as sv
from mmengine.registry import init_default_scope

from damamba.cli.commands import command_parser
from damamba.cli.common import run
from damamba.cli.console import say
from damamba.cli.options import add_pairs
from damamba.engine.config import read_config
from damamba.engine.config_checks import check_files
from damamba.engine.samples import Sample, draw_samples
from damamba.reporting.charts.examples import LONG_SIDE, draw_objects, draw_tiles
from damamba.reporting.charts.style import INK
from damamba.tables import Table

LEAST_SIDE = 640  # pixels: smaller pictures are enlarged, for their labels
SHEET = 'contact_sheet.png'
COLUMNS = 4  # of the sheet


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser('browse-dataset', __doc__)
    parser.add_argument('config', help='the config file')
    parser.add_argument(
        '--split', choices=['train', 'val', 'test'], default='train', help='what is drawn; by default train'
    )
    parser.add_argument('--count', type=int, default=16, metavar='N', help='how many pictures: 16')
    parser.add_argument('--seed', type=int, default=0, metavar='S', help='which ones, and how they are augmented: 0')
    parser.add_argument(
        '--out', type=Path, metavar='DIR', help='where they go; by default work_dirs/<name of the config>/browse'
    )
    add_pairs(parser, '--cfg-options', 'override the config')
    args = parser.parse_args(argv)
    if args.count < 1 or args.seed < 0:
        parser.error('--count takes 1 or more, and --seed 0 or more')
    return args


def draw(args: argparse.Namespace) -> list[tuple[Sample, Path]]:
    """Draw each picture, and all of them on one sheet; return what was fed, and where it is drawn.

    Raises:
        ConfigError: there is no such config, or the data that it names is not there.
    """
    cfg = read_config(args.config, args.cfg_options)
    check_files(cfg, (args.split,))
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    out = args.out or Path('work_dirs') / Path(args.config).stem / 'browse'
    out.mkdir(parents=True, exist_ok=True)
    drawn, pictures = [], []
    for number, sample in enumerate(draw_samples(cfg, args.split, args.count, args.seed), 1):
        path = out / f'{number:02d}_{Path(sample.path).stem}.png'
        cv2.imwrite(str(path), _picture(sample, max(LEAST_SIDE, *sample.picture.shape[:2])))
        pictures.append(_picture(sample, LONG_SIDE))
        drawn.append((sample, path))
    captions = [f'{path.stem[3:]}\n{_size(sample)}, {sample.objects} objects' for sample, path in drawn]
    tiles = [(picture, caption, INK) for picture, caption in zip(pictures, captions, strict=True)]
    draw_tiles(tiles, COLUMNS, out / SHEET, f'{Path(args.config).stem}: {args.split}')
    return drawn


def _picture(sample: Sample, long_side: int) -> np.ndarray:
    """Each object in a colour of its own: neighbours of one class are to be told apart."""
    objects = len(sample.labels) - sample.ignored
    labels = [name if place < objects else f'ignored: {name}' for place, name in enumerate(sample.names)]
    masks = np.array(sample.masks, dtype=bool) if sample.masks else None
    drawn = sv.Detections(sample.boxes, masks, class_id=np.arange(len(labels)))
    return draw_objects(sample.picture, drawn, labels, long_side, boxed=True)


def _size(sample: Sample) -> str:
    height, width = sample.picture.shape[:2]
    return f'{width} x {height}'


def render(drawn: list[tuple[Sample, Path]]) -> str:
    """A line for each picture."""
    headings = ['picture', 'size', 'size fed', 'objects', 'ignored']
    rows = [
        [path.name, '{1} x {0}'.format(*it.original), _size(it), str(it.objects), str(it.ignored)] for it, path in drawn
    ]
    return Table.of('', headings, rows).text().rstrip()


def show(argv: list[str] | None = None) -> None:
    """Parse, draw, print what was fed."""
    args = parse(argv)
    drawn = draw(args)
    say(render(drawn))
    say(f'\nall of them on one sheet: {drawn[0][1].parent / SHEET}')


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    run(show, argv)
