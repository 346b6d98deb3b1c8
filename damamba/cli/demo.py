"""The whole chain on a machine without data: draw scenes, train a small DAMamba, test it, show what it sees."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from faster_coco_eval import COCO

from damamba.checkpoint import CheckpointFolder
from damamba.cli import make_demo_data
from damamba.cli.commands import command_parser
from damamba.cli.console import say
from damamba.reporting.charts import draw_curves, draw_detections
from damamba.reporting.logs import read_log

ROOT = Path(__file__).resolve().parents[2]
BATCH = 4  # pictures at a time, in all
CONFIG = ROOT / 'configs' / 'demo' / 'mask_rcnn_DAMamba_nano_fpn_shapes.py'


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser('demo', __doc__)
    parser.add_argument('--resume', action='store_true', help='go on from the newest checkpoint of an earlier demo')
    parser.add_argument(
        '--data-root', type=Path, default=Path('data/shapes'), metavar='DIR', help='where the scenes lie, or go'
    )
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/demo'), metavar='DIR', help='where logs and results go'
    )
    parser.add_argument('--images', type=int, default=800, metavar='N', help='scenes to train on: 800')
    parser.add_argument('--val-images', type=int, default=120, metavar='N', help='scenes to validate on: 120')
    parser.add_argument('--epochs', type=int, metavar='N', help='for how long to train: 6')
    parser.add_argument('--processes', type=int, choices=(1, 2, 4), help='by default what suits the machine')
    args = parser.parse_args(argv)
    args.processes = args.processes or _fitting()
    return args


def _fitting() -> int:
    """One process on a GPU; on a CPU two if there are cores for them: small operators hardly gain from threads."""
    return 1 if torch.cuda.is_available() or len(os.sched_getaffinity(0)) < 2 else 2


def script(name: str, *args: object) -> None:
    """Run one of the shell scripts as a user would; end with its status if it fails."""
    command = ['bash', str(ROOT / name), *map(str, args)]
    process = subprocess.Popen(command, env={**os.environ, 'PYTHON': sys.executable})
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.wait()  # Ctrl-C is for both, and the training saves first
        raise
    if status:
        sys.exit(status)


def train(args: argparse.Namespace) -> str:
    """Train, or go on; return the newest checkpoint."""
    options = [f'data_root={args.data_root}', f'train_dataloader.batch_size={BATCH // args.processes}']
    if args.epochs:
        options.append(f'max_epochs={args.epochs}')
    flags = ['--resume'] if args.resume else []
    script('dist_train.sh', CONFIG, args.processes, '--work-dir', args.work_dir, *flags, '--cfg-options', *options)
    return str(CheckpointFolder(args.work_dir).newest_whole()[0])


def test(args: argparse.Namespace, checkpoint: str) -> list[dict]:
    """Test; return the predictions."""
    prefix = args.work_dir / 'predictions'
    evaluator = ['classwise=True', f'outfile_prefix={prefix}']
    script(
        'dist_test.sh', CONFIG, checkpoint, args.processes, '--work-dir', args.work_dir, '--eval', 'bbox', 'segm',
        '--eval-options', *evaluator, '--cfg-options', f'data_root={args.data_root}',
    )  # fmt: skip
    return json.loads(Path(f'{prefix}.segm.json').read_text())


def draw(args: argparse.Namespace, predictions: list[dict]) -> dict[str, Path]:
    """Draw the curves, and the detections beside the ground truth."""
    truth = COCO(str(args.data_root / 'annotations' / 'instances_val2017.json'))
    curves, detections = args.work_dir / 'curves.png', args.work_dir / 'detections.png'
    draw_curves(read_log(args.work_dir), curves, 'A small DAMamba in Mask R-CNN, trained from scratch')
    draw_detections(
        args.data_root / 'val2017', truth, predictions, detections, 'The first pictures of the validation set'
    )
    return {'curves': curves, 'pictures': detections}


def summary(args: argparse.Namespace, checkpoint: str, drawn: dict[str, Path]) -> str:
    """What came out, and where it lies."""
    results = args.work_dir / 'metrics.json'
    values = json.loads(results.read_text())['metrics']
    headline = f'box mAP {values["coco/bbox_mAP"]:.3f}, mask mAP {values["coco/segm_mAP"]:.3f}'
    paths = {'figures': results, **drawn, 'checkpoint': checkpoint}
    lines = [f'{name:<11} {path}' for name, path in paths.items()]
    return '\n'.join(['', f'{headline} on {args.val_images} scenes', '', *lines])


def demo(args: argparse.Namespace) -> None:
    """Draw the data, train, test, draw the results, say where they lie."""
    data = ['--images', args.images, '--val-images', args.val_images]
    make_demo_data.main(['shapes', str(args.data_root), *map(str, data)])
    checkpoint = train(args)
    drawn = draw(args, test(args, checkpoint))
    say(summary(args, checkpoint, drawn))


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    try:
        demo(parse(argv))
    except KeyboardInterrupt:
        sys.exit('stopped; with --resume (make demo ARGS=--resume) it goes on from the newest checkpoint')


if __name__ == '__main__':
    main()
