"""Look inside: where the scan reads from for a position of a picture, what reaches it, how long the state remembers."""

import argparse
from pathlib import Path

from damamba.cli.common import run
from damamba.cli.console import say
from damamba.engine.config_checks import ConfigError
from damamba.inference.detector import init_detector
from damamba.inference.explain import Explanation, explain
from damamba.inference.explain.picture import read_picture

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / 'configs' / 'demo' / 'mask_rcnn_DAMamba_nano_fpn_shapes.py'
TRAINED = Path('work_dirs/demo')


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog='damamba explain', description=__doc__, epilog='example: damamba explain street.jpg --position 320,200'
    )
    parser.add_argument('picture', help='the picture to look at')
    parser.add_argument('--config', metavar='CONFIG', help="the detector's config file; by default the demo's")
    parser.add_argument('--checkpoint', metavar='FILE', help="its weights; by default the demo's best or newest ones")
    parser.add_argument('--device', metavar='D', help='such as cpu or cuda:1; by default a GPU, where there is one')
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/explain'),
        metavar='FOLDER',
        help='where sheet, animation and arrays go; by default work_dirs/explain',
    )
    parser.add_argument(
        '--position', type=_position, metavar='X,Y', help='in pixels; by default the centre of the best detection'
    )
    parser.add_argument('--stage', type=int, metavar='N', help='the stage to animate, from 1: that with most blocks')
    parser.add_argument('--format', choices=['gif', 'mp4'], default='gif', help='of the animation: gif')
    parser.add_argument('--no-animation', action='store_true', help='write the sheet and the arrays alone')
    args = parser.parse_args(argv)
    if bool(args.config) != bool(args.checkpoint):
        parser.error('--config and --checkpoint belong together: give both, or neither for the demo')
    return args


def _position(text: str) -> tuple[float, float]:
    try:
        across, down = map(float, text.split(','))
    except ValueError:
        raise argparse.ArgumentTypeError(f'takes two numbers such as 320,200, got {text}') from None
    return across, down


def demo_model() -> tuple[Path, Path]:
    """The demo's config and its best weights, or else its newest ones."""
    found = sorted(TRAINED.glob('best_*.pth')) or sorted(TRAINED.glob('epoch_*.pth'), key=lambda it: it.stat().st_mtime)
    if not found:
        raise ConfigError(f'{TRAINED} holds no weights: run make demo, or name --config and --checkpoint')
    return DEMO, found[-1]


def look(args: argparse.Namespace) -> tuple[Explanation, list[Path]]:
    """Explain the picture; return that, and the files that were written."""
    read_picture(args.picture)  # before a model is loaded
    config, checkpoint = (args.config, args.checkpoint) if args.config else demo_model()
    if not args.config:
        say(f"the demo's model: {checkpoint}")
    model = init_detector(config, checkpoint, args.device, fuse=False)
    explanation = explain(model, args.picture, args.position, args.stage)
    name = args.out / f'{Path(args.picture).stem}.explain'
    paths = [Path(f'{name}.{suffix}') for suffix in ('png', args.format, 'npz')]
    explanation.draw(paths[0])
    if args.no_animation:
        del paths[1]
    else:
        explanation.animate(paths[1])
    explanation.save(paths[-1])
    return explanation, paths


def show(argv: list[str] | None = None) -> None:
    """Parse, explain, print the figures and where the files lie."""
    explanation, paths = look(parse(argv))
    say('\n'.join([str(explanation), *(f'wrote {path}' for path in paths)]))


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    run(show, argv)


if __name__ == '__main__':
    main()
