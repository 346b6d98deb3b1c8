"""The commands of ``damamba``: what each is for, an example, and the parser that shows both.

Nothing is imported for ``damamba --help`` but this.
"""

import argparse
import difflib
import shutil
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

NEXT = '\\\n    '  # a line that goes on
TINY = 'configs/mask_rcnn_DAMamba_tiny_fpn_1x_coco.py'


class Command(NamedTuple):
    """A command; its module is ``damamba.cli.<name>``."""

    summary: str
    example: str  # what is typed behind the command
    usage: str = ''  # where argparse's own, with every flag, would take half the screen


GROUPS = {
    'Start here': {
        'demo': Command('draw scenes, train a small detector on them, test it', '--images 200 --epochs 2'),
        'doctor': Command('say what is installed, what works, and how to mend the rest', '--json'),
    },
    'Use a model': {
        'predict': Command('find the objects in pictures, folders, videos', 'photos/ --out found'),
        'explain': Command('draw what the model looks at', 'photo.jpg --out inside'),
        'serve': Command('open a web page to try a model on', '--port 7860'),
    },
    'Train and measure': {
        'train': Command('train a detector from a config file', f'{TINY} --amp', 'CONFIG [FLAG ...]'),
        'test': Command(
            'test a detector: mAP of boxes and masks',
            f'{TINY} weights.pth {NEXT}--eval bbox segm',
            'CONFIG CHECKPOINT [FLAG ...]',
        ),
        'tune': Command(
            'search hyper-parameters on validation mask mAP',
            f'{TINY} {NEXT}--preset lr --trials 20',
            'CONFIG --trials N (--preset P | --space FILE) [FLAG ...]',
        ),
        'report': Command('make one report of finished runs', 'work_dirs/first work_dirs/second --out report'),
        'eval-results': Command('score predictions that lie in a file', 'predictions.pkl --config config.py'),
        'diagnose': Command(
            'say why the mAP of any file of COCO results is so low', 'results.json --annotations val.json'
        ),
        'prove-evaluation': Command('prove the evaluation of a config on its ground truth', TINY),
        'get-flops': Command("count a detector's parameters and MACs", f'{TINY} {NEXT}--shape 800 1280'),
        'publish-model': Command(
            'write the weights of a training checkpoint', 'work_dirs/first/epoch_12.pth model.pth'
        ),
        'convert-weights': Command('bring weights of torchvision, Hugging Face, detectron2', 'latest.pt armbench.pth'),
    },
    'Data': {
        'convert-data': Command(
            "turn another tool's labels into COCO, or into YOLO", 'labelled/ data/mine', 'SRC DST [FLAG ...]'
        ),
        'check-dataset': Command('look through a data set: what is wrong with it', 'data/coco/annotations'),
        'split-data': Command(
            'split a data set: by fractions, no group in two parts',
            f'all.json data/mine/annotations {NEXT}--fractions 0.8 0.1 0.1 --group-by scene',
            'ANNOTATIONS OUT [FLAG ...]',
        ),
        'browse-dataset': Command('draw what a config feeds its model', f'{TINY} {NEXT}--count 8'),
        'make-demo-data': Command('draw a data set of synthetic scenes', 'shapes data/shapes --images 100'),
    },
}
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}
ALIASES = {'check': 'doctor'}


def module_of(typed: str) -> str | None:
    """The module of a command, with hyphens or underscores; None where there is no such command."""
    name = typed.replace('_', '-')
    name = ALIASES.get(name, name)
    return f'damamba.cli.{name.replace("-", "_")}' if name in COMMANDS else None


def unknown(typed: str) -> str:
    """One sentence about a command that does not exist."""
    near = difflib.get_close_matches(typed.replace('_', '-'), COMMANDS, n=1, cutoff=0.5)
    hint = f'is damamba {near[0]} meant?' if near else 'damamba --help lists them.'
    return f'error: there is no command {typed}; {hint}'


def listing() -> str:
    """All commands, on one screen."""
    width = max(map(len, COMMANDS))
    lines = ['usage: damamba COMMAND ...']
    for title, group in GROUPS.items():
        lines += [title, *(f'  {name:<{width}}  {command.summary}' for name, command in group.items())]
    return '\n'.join([*lines, 'damamba COMMAND --help says what a command takes, with an example.'])


def command_parser(name: str, description: str) -> argparse.ArgumentParser:
    """A parser whose help ends with the command's example.

    Args:
        name: of the command, as in COMMANDS.
        description: paragraphs, each of which is wrapped.
    """
    script = Path(sys.argv[0])
    prog = f'damamba {name}'
    if script.parent.name == 'tools' and script.stem == name.replace('-', '_'):
        prog = f'tools/{script.name}'
    command, width = COMMANDS[name], shutil.get_terminal_size().columns - 2
    return argparse.ArgumentParser(
        prog=prog,
        usage=f'{prog} {command.usage}' if command.usage else None,
        description='\n\n'.join(textwrap.fill(it, width) for it in description.strip().split('\n\n')),
        epilog=f'example:\n  {typed_as(prog)} {command.example}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def typed_as(prog: str) -> str:
    """What starts a command: ``damamba train``, ``python tools/train.py``."""
    return f'python {prog}' if prog.endswith('.py') else prog
