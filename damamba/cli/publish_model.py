"""Write the weights of a training checkpoint and nothing else, the start of their SHA-256 in the file's name."""

import sys

from damamba.checkpoint import CheckpointError, publish, trust_checkpoints
from damamba.cli.commands import command_parser


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = command_parser('publish-model', __doc__)
    parser.add_argument('checkpoint', help='training checkpoint: a path or URL')
    parser.add_argument('out', help='where to write, ending in .pth or .safetensors')
    parser.add_argument('--trust-checkpoint', action='store_true', help='read a file that carries code, and run it')
    args = parser.parse_args(argv)
    if args.trust_checkpoint:
        trust_checkpoints()
    try:
        sys.stdout.write(f'{publish(args.checkpoint, args.out)}\n')
    except CheckpointError as error:
        sys.exit(f'error: {error}')
