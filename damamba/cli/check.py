"""Say what is installed and whether it works: python -m damamba.cli.check

Each check returns its problems, one sentence with the command that mends it; the exit status is 1 if there is any.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from importlib import metadata

from damamba.cli.environment import say
from damamba.mmcv_ops import compiled_for, mend, require_mmcv_ops

PACKAGES = ['torch', 'torchvision', 'mmcv', 'mmengine', 'mmdet', 'numba', 'cv2']
OPENCVS = ['opencv-python', 'opencv-python-headless', 'opencv-contrib-python', 'opencv-contrib-python-headless']


def opencv_command() -> str:
    pip = f'{sys.executable} -m pip'
    others = ' '.join(name for name in OPENCVS if name != 'opencv-python-headless')
    headless = "--no-deps --force-reinstall 'opencv-python-headless<4.13'"
    return f'{pip} uninstall -y {others} && {pip} install {headless}'


def import_problem(name: str, error: Exception) -> str:
    """Of the first line of the error: compiled packages can add pages to it."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    command = opencv_command() if name == 'cv2' else 'make install'
    return f'{name} does not import ({reason}): run `{command}`.'


def check_versions() -> tuple[dict[str, str], list[str]]:
    """The version of each package, or '-' and a problem. mmdet asserts on an mmcv or mmengine that it does not fit."""
    versions, problems = {}, []
    for name in PACKAGES:
        try:
            versions[name] = importlib.import_module(name).__version__
        except (ImportError, OSError, AssertionError, RuntimeError) as error:
            versions[name] = '-'
            problems.append(import_problem(name, error))
    return versions, problems


def check_opencv() -> list[str]:
    """All four write the same `cv2` folder: with two of them, which one answers is chance."""
    found = [name for name in OPENCVS if any(metadata.distributions(name=name))]
    if len(found) == 1:
        return []
    what = f'{len(found)} OpenCVs are installed ({", ".join(found)})' if found else 'no OpenCV is installed'
    return [f'{what}, and it should be one: run `{opencv_command()}`.']


def nms_answer(device: str) -> list[int]:
    """The second box overlaps the first with an IoU of 81 / 119, the third overlaps nothing: [0, 2] stay."""
    import torch
    from mmcv.ops import nms

    boxes = torch.tensor([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]], dtype=torch.float32, device=device)
    scores = torch.tensor([0.9, 0.8, 0.7], device=device)
    return nms(boxes, scores, iou_threshold=0.5)[1].tolist()


def roi_align_answer(device: str) -> list[float]:
    """The means of 2 x 2 blocks of 0 ... 15: aligned, with two samples a side, each sample is a pixel's centre."""
    import torch
    from mmcv.ops import roi_align

    picture = torch.arange(16, dtype=torch.float32, device=device).reshape(1, 1, 4, 4)
    whole = torch.tensor([[0, 0, 0, 4, 4]], dtype=torch.float32, device=device)  # image 0, then the corners
    return roi_align(picture, whole, (2, 2), 1.0, 2, 'avg', True).flatten().tolist()


def check_operators(device: str) -> list[str]:
    """Two of mmcv's operators against an answer known by hand."""
    try:
        answers = {'nms': (nms_answer(device), [0, 2]), 'roi_align': (roi_align_answer(device), [2.5, 4.5, 10.5, 12.5])}
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        return [mend(f"mmcv's operators do not run on {device} tensors ({reason})")]
    wrong = [name for name, (found, truth) in answers.items() if found != truth]
    return [mend(f'{name} of mmcv gives a wrong answer on {device} tensors') for name in wrong]


def check_mmcv() -> list[str]:
    """Whether mmcv's operators are there, load and run, on the GPU too where torch sees one."""
    import torch

    try:
        require_mmcv_ops()
    except ImportError as error:
        return [str(error)]
    devices = ['cpu', 'cuda'] if torch.cuda.is_available() else ['cpu']
    return [problem for device in devices for problem in check_operators(device)]


def chosen_backends() -> str:
    """What runs DAMamba's own operators."""
    import torch

    from damamba.ops.adaptive_sample import BACKENDS

    devices = ['cpu', 'cuda'] if torch.cuda.is_available() else ['cpu']
    inputs = {it: (torch.zeros(1, 1, 1, 8, device=it), torch.zeros(1, 1, 1, 2, device=it)) for it in devices}
    names = {it: next(b.name for b in BACKENDS if b.why_not(*tensors) is None) for it, tensors in inputs.items()}
    return ', '.join(f'{name} on {it}' for it, name in names.items())


def table(versions: dict[str, str]) -> str:
    width = max(map(len, versions))
    return '\n'.join(f'{name:<{width}}  {version}' for name, version in versions.items())


def main(argv: list[str] | None = None) -> int:
    """Print the table and the problems; returns the exit status."""
    argparse.ArgumentParser(prog='check', description=__doc__).parse_args(argv)
    versions, problems = check_versions()
    works = versions['torch'] != '-'
    operators = {
        'mmcv operators': (works and compiled_for()) or '-',
        'own operators': chosen_backends() if works else '-',
    }
    say(table({'python': sys.version.split()[0], **versions, **operators}))
    problems += check_opencv()
    problems += check_mmcv() if works and versions['mmcv'] != '-' else []
    say('\n'.join(problems) or 'All of it works.')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
