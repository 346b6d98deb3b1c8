"""Find the objects in pictures, folders, patterns, videos, cameras: masks, boxes, classes, scores."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from damamba.cli.commands import command_parser
from damamba.cli.common import run
from damamba.cli.console import say
from damamba.cli.model import add_model, build_predictor, make_folder
from damamba.engine.config import read_config
from damamba.engine.config_checks import ConfigError
from damamba.evaluation.annotations import read
from damamba.inference.detections import DRAWN, Detections
from damamba.inference.pictures import paths_of
from damamba.inference.predictor import Predictor
from damamba.inference.results import Results
from damamba.inference.writers import WRITERS


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser('predict', __doc__)
    parser.add_argument(
        'pictures', nargs='+', metavar='PICTURE', help='a file, folder, pattern, video, URL of a stream, or camera (0)'
    )
    add_model(parser)
    parser.add_argument('--out', type=Path, default=Path('predictions'), metavar='DIR', help='by default predictions')
    parser.add_argument(
        '--save', nargs='+', choices=WRITERS, default=['overlays', 'coco'], metavar='KIND',
        help=f'what is written: {", ".join(WRITERS)}; by default overlays and coco',
    )  # fmt: skip
    parser.add_argument(
        '--score-thr', type=float, metavar='X',
        help=f'leave out what scores less; by default all is in COCO results, and {DRAWN} is the least that is drawn',
    )  # fmt: skip
    parser.add_argument('--classes', nargs='+', metavar='NAME', help='find these alone')
    parser.add_argument('--top-k', type=int, metavar='N', help='so many a picture, the best')
    parser.add_argument('--max-side', type=int, metavar='N', help='make larger pictures as small as N pixels first')
    parser.add_argument('--batch-size', type=int, default=1, metavar='N', help='pictures at a time: 1')
    parser.add_argument(
        '--annotations', type=Path, metavar='JSON',
        help="whose ids the COCO results take; by default those of the config's test set, where it is there",
    )  # fmt: skip
    parser.add_argument('--no-fuse', action='store_true', help='do not fold batch normalisation into convolutions')
    return parser.parse_args(argv)


def predict(argv: list[str] | None = None) -> None:
    """Parse, find, write; the exit status is 1 where a picture could not be read, 130 where Ctrl-C ended it."""
    args = parse(argv)
    _refuse_drawn_over(args)
    make_folder(args.out)
    predictor = build_predictor(
        args, batch_size=args.batch_size, score_thr=args.score_thr or 0.0, classes=args.classes, top_k=args.top_k,
        max_side=args.max_side, fuse=not args.no_fuse,
    )  # fmt: skip
    least = DRAWN if args.score_thr is None else args.score_thr
    sources = args.pictures[0] if len(args.pictures) == 1 else args.pictures
    pictures = predictor(sources, skip_unreadable=True)
    times, objects, last, is_stopped = [], 0, None, False
    with Results(args.out, args.save, _annotations(args, predictor), least) as results:
        try:
            for found in _watched(pictures):
                results.add(found)
                times.append(found.milliseconds)
                objects, last = objects + len(found.above(least)), found
        except KeyboardInterrupt:  # what ends a camera
            is_stopped = True
    _say_what_was_found(args.out, times, objects, least, last)
    if predictor.unreadable:
        lines = [f'  {name}: {problem}' for name, problem in predictor.unreadable.items()]
        say('\n'.join([f'could not be read: {len(lines)}', *lines]))
    if is_stopped:
        say('stopped: the pictures until then are written')
    if is_stopped or predictor.unreadable:
        sys.exit(130 if is_stopped else 1)


def _refuse_drawn_over(args: argparse.Namespace) -> None:
    """Before anything is loaded, say that a picture does not exist, or lies where a drawn one would be written."""
    drawn = (args.out / 'overlays').resolve()
    for path in (path for given in args.pictures for path in paths_of(given)):
        if 'overlays' in args.save and Path(path).parent.resolve().is_relative_to(drawn):
            raise ConfigError(f'{path} would be drawn over: take another --out')


def _annotations(args: argparse.Namespace, predictor: Predictor) -> dict | None:
    """Those that are named, or the config's test set's, where they are there and have its classes."""
    if args.annotations:
        return read(str(args.annotations))
    dataset = (read_config(predictor.config, args.cfg_options).get('test_dataloader') or {}).get('dataset', {})
    path = Path(dataset.get('data_root') or '', dataset.get('ann_file') or '')
    if not path.is_file():
        return None
    document = read(str(path))
    names = {entry.get('name') for entry in document.get('categories', ())}
    return document if names >= {*predictor.classes} else None


def _watched(pictures: Iterator[Detections]) -> Iterator[Detections]:
    """The same, with a bar on a terminal that counts them."""
    columns = TextColumn('{task.description}'), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as bar:
        task = bar.add_task('', total=None)
        for found in pictures:
            bar.update(task, advance=1, description=found.name[-40:])
            yield found


def _say_what_was_found(
    out: Path, times: list[dict[str, float]], objects: int, least: float, last: Detections | None
) -> None:
    if len(times) == 1:
        say(str(last))
    if times:
        totals = np.array([sum(it.values()) for it in times])
        steps = ', '.join(f'{step} {np.median([it[step] for it in times]):.0f}' for step in times[0])
        median, most = np.quantile(totals, (0.5, 0.95))
        say(f'{len(times)} pictures, {objects} objects that score {least:g} or more')
        say(f'{median:.0f} ms a picture (median; {steps}), 95 % within {most:.0f} ms')
    say(f'written to {out}')


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    try:
        run(predict, argv)
    except KeyboardInterrupt:
        sys.exit(130)
