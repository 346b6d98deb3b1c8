"""Open a web page on which a detector can be tried, for this machine alone unless told otherwise."""

import argparse
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

from damamba.cli.commands import command_parser
from damamba.cli.common import run
from damamba.cli.console import say
from damamba.cli.model import add_model, build_predictor
from damamba.datasets.demo import write_shapes
from damamba.engine.config_checks import ConfigError

EXAMPLES = 6


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser('serve', __doc__)
    add_model(parser)
    parser.add_argument('--port', type=int, default=7860, metavar='N', help='where it listens: 7860')
    parser.add_argument(
        '--host', default='127.0.0.1', metavar='H', help='by default this machine alone; 0.0.0.0 for all networks'
    )
    parser.add_argument('--share', action='store_true', help="also through a public link of Gradio's, for 72 hours")
    parser.add_argument('--api', action='store_true', help='also answer programs: POST /predict')
    parser.add_argument('--max-side', type=int, metavar='N', help='make larger pictures as small as N pixels first')
    parser.add_argument(
        '--examples', type=Path, nargs='+', metavar='PICTURE', help='on the page; by default drawn scenes'
    )
    return parser.parse_args(argv)


def serve(argv: list[str] | None = None) -> None:
    """Parse, load, open the page, wait."""
    args = parse(argv)
    os.environ.setdefault('GRADIO_ANALYTICS_ENABLED', 'False')
    os.environ.setdefault('HF_HUB_DISABLE_TELEMETRY', '1')
    try:
        from damamba.inference.web import MEGABYTES, WAITING, Desk, add_api, build_page
    except ModuleNotFoundError as error:
        raise ConfigError(f'serve needs {error.name}: pip install gradio') from error
    _refuse_taken(args.host, args.port)
    desk = Desk(build_predictor(args, max_side=args.max_side))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # what is in the folder goes then too
    with tempfile.TemporaryDirectory(prefix='damamba-serve-') as folder:
        examples = args.examples or _drawn(Path(folder, 'scenes'))
        blocks = build_page(desk, examples, Path(folder)).queue(max_size=WAITING, default_concurrency_limit=4)
        app, *_ = blocks.launch(
            server_name=args.host, server_port=args.port, share=args.share, max_file_size=f'{MEGABYTES}mb',
            allowed_paths=[folder], state_session_capacity=20, footer_links=[], quiet=True, ssr_mode=False,
            prevent_thread_lock=True,
        )  # fmt: skip
        address = f'http://{args.host}:{args.port}'
        say(f'open {address}' + (f' or {blocks.share_url}' if args.share else ''))
        if args.api:
            add_api(app, desk)
            say(f'curl -F picture=@PICTURE.jpg {address}/predict')
        blocks.block_thread()


def _refuse_taken(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            why = getattr(error, 'strerror', None) or error
            raise ConfigError(f'{host}:{port} can not be listened at ({why}): take another --port') from error


def _drawn(folder: Path) -> list[Path]:
    """Scenes of the demo's kind."""
    write_shapes(folder, images=1, val_images=EXAMPLES, seed=1)
    return sorted((folder / 'val2017').iterdir())


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    run(serve, argv)
