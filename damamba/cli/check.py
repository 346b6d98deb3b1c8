"""Say what is installed and whether it works: python -m damamba check

Each check returns its problems, one sentence with the command that mends it; the exit status is 1 if there is any.
"""

import argparse
import importlib
import sys
from importlib import metadata

from damamba import mmcv_ops
from damamba.cli.console import say

PACKAGES = ['torch', 'torchvision', 'mmcv', 'mmengine', 'mmdet', 'numba', 'cv2']
ALSO = {'mmdet': ['mmdet.datasets', 'mmdet.models']}  # which import all that a detector needs
OPENCVS = ['opencv-python', 'opencv-contrib-python', 'opencv-contrib-python-headless', 'opencv-python-headless']
EMPTY = '+headless'  # the version of tools/opencv_python, which has no files, ends like this
PIP = f'{sys.executable} -m pip'


def opencv_command() -> str:
    """Leaves one OpenCV; the last step writes the files anew that removing the others took along."""
    return (
        f'{PIP} uninstall -y {" ".join(OPENCVS[:-1])} && '
        f"{PIP} install --no-deps --force-reinstall 'opencv-python-headless<4.13'"
    )


def mmcv_command() -> str:
    """Takes compiled operators out, by building mmcv where no torch is seen."""
    return f'{PIP} install --no-deps --force-reinstall --no-cache-dir onedl-mmcv=={metadata.version("onedl-mmcv")}'


def import_problem(name: str, error: Exception) -> str:
    """Of the first line of the error: compiled packages can add pages to it."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    command = opencv_command() if name == 'cv2' else f'{PIP} install -r requirements.txt'
    return f'{name} does not import ({reason}): run `{command}`.'


def check_versions() -> tuple[dict[str, str], list[str]]:
    """The version of each package, or '-' and a problem. mmdet asserts on an mmcv or mmengine that it does not fit."""
    mmcv_ops.install()
    versions, problems = {}, []
    for name in PACKAGES:
        try:
            versions[name] = importlib.import_module(name).__version__
            for module in ALSO.get(name, []):
                importlib.import_module(module)
        except (ImportError, OSError, AssertionError, RuntimeError) as error:
            versions[name] = '-'
            problems.append(import_problem(name, error))
    return versions, problems


def check_opencv() -> list[str]:
    """All four write the same `cv2` folder: with two of them, which one answers is chance."""
    versions = {name: [it.version for it in metadata.distributions(name=name)] for name in OPENCVS}
    found = [name for name in OPENCVS if any(not version.endswith(EMPTY) for version in versions[name])]
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
    """Two of mmcv's operators, ours or compiled ones, against an answer known by hand."""
    try:
        answers = {'nms': (nms_answer(device), [0, 2]), 'roi_align': (roi_align_answer(device), [2.5, 4.5, 10.5, 12.5])}
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        return [f"mmcv's operators do not run on {device} tensors ({reason}): run `{mmcv_command()}`."]
    wrong = [name for name, (found, truth) in answers.items() if found != truth]
    return [f'{name} of mmcv gives a wrong answer on {device} tensors: run `{mmcv_command()}`.' for name in wrong]


def devices() -> list[str]:
    import torch

    return ['cpu', 'cuda'] if torch.cuda.is_available() else ['cpu']


def chosen_backends() -> str:
    """What runs DAMamba's own operators."""
    import torch

    from damamba.ops.adaptive_sample import BACKENDS

    inputs = {it: (torch.zeros(1, 1, 1, 8, device=it), torch.zeros(1, 1, 1, 2, device=it)) for it in devices()}
    names = {
        it: next(name for name, b in BACKENDS.items() if b.why_not(*tensors) is None) for it, tensors in inputs.items()
    }
    return ', '.join(f'{name} on {it}' for it, name in names.items())


def table(versions: dict[str, str]) -> str:
    width = max(map(len, versions))
    return '\n'.join(f'{name:<{width}}  {version}' for name, version in versions.items())


def main(argv: list[str] | None = None) -> int:
    """Print the table and the problems; returns the exit status."""
    argparse.ArgumentParser(prog='check', description=__doc__).parse_args(argv)
    versions, problems = check_versions()
    detects = '-' not in (versions['torch'], versions['torchvision'], versions['mmcv'])
    operators = {
        'mmcv operators': mmcv_ops.describe() if detects else '-',
        'own operators': chosen_backends() if versions['torch'] != '-' else '-',
    }
    say(table({'python': sys.version.split()[0], **versions, **operators}))
    problems += check_opencv()
    problems += [it for device in devices() for it in check_operators(device)] if detects else []
    say('\n'.join(problems) or 'All of it works.')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
