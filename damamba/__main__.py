"""``python -m damamba COMMAND``: the same commands as in tools/."""

import sys
from importlib import import_module

COMMANDS = {
    'train': 'train a detector from a config file',
    'test': 'test a detector',
    'eval_results': 'score predictions that lie in a file',
    'prove_evaluation': 'prove the evaluation of a config on its ground truth',
    'report': 'make one report of finished runs',
    'tune': 'search hyper-parameters on validation mask mAP',
    'demo': 'draw scenes, train a small detector on them, test it',
    'explain': 'look inside: where the scan reads, what reaches a position, what is remembered',
    'publish_model': 'write the weights of a training checkpoint',
    'get_flops': "count a detector's parameters and multiply-accumulates",
    'make_demo_data': 'draw a data set of synthetic scenes',
    'check_dataset': 'look through a data set: what it holds, what is wrong with it',
    'browse_dataset': 'draw what a config feeds its model',
    'check': 'check the installation',
}


def main() -> None:
    """Entry point."""
    name = sys.argv[1] if len(sys.argv) > 1 else ''
    if name not in COMMANDS:
        lines = [f'  {command:<14} {text}' for command, text in COMMANDS.items()]
        sys.exit('\n'.join(['usage: python -m damamba COMMAND ...', *lines]))
    sys.exit(import_module(f'damamba.cli.{name}').main(sys.argv[2:]))


if __name__ == '__main__':
    main()
