"""Which packages are installed, and whether they import."""

import contextlib
import importlib
import re
import sys
from importlib import metadata

from damamba import __version__, mmcv_ops
from damamba.doctor import PIP, Look, Problem, first_line

PACKAGES = ['torch', 'torchvision', 'mmcv', 'mmengine', 'mmdet', 'numba', 'cv2']
ALSO = {'mmdet': ['mmdet.datasets', 'mmdet.models']}  # which import all that a detector needs
OPENCVS = ['opencv-python', 'opencv-contrib-python', 'opencv-contrib-python-headless', 'opencv-python-headless']
EMPTY = '+headless'  # the version of tools/opencv_python, which has no files, ends like this
OPTIONAL = {
    'optuna': 'damamba tune',
    'psycopg2-binary': 'studies in PostgreSQL',
    'supervision': 'pictures with masks drawn on them',
    'gradio': 'damamba serve',
    'pandas': 'detections as a table',
    'huggingface_hub': 'published models by their names',
    'tensorboard': 'curves of a training, by default',
    'wandb': 'curves of a training, by WandbVisBackend',
    'mlflow': 'curves of a training, by MLflowVisBackend',
    'clearml': 'curves of a training, by ClearMLVisBackend',
    'timm': 'benchmarks beside other backbones',
}


def opencv_command() -> str:
    """Leaves one OpenCV; the last step writes the files anew that removing the others took along."""
    return (
        f'{PIP} uninstall -y {" ".join(OPENCVS[:-1])} && '
        f"{PIP} install --no-deps --force-reinstall 'opencv-python-headless<4.13'"
    )


def _import_problem(name: str, error: Exception) -> Problem:
    command = opencv_command() if name == 'cv2' else f'{PIP} install -r requirements.txt'
    return Problem(f'{name} does not import ({first_line(error)})', command)


def look_at_versions() -> Look:
    """The version of each package, or '-' and a problem. mmdet asserts on an mmcv or mmengine that it does not fit."""
    mmcv_ops.install()
    rows, problems = {'python': sys.version.split()[0], 'damamba': __version__}, []
    for name in PACKAGES:
        try:
            with contextlib.redirect_stdout(sys.stderr):  # mmdet says what it does without
                rows[name] = importlib.import_module(name).__version__
                for module in ALSO.get(name, []):
                    importlib.import_module(module)
        except (ImportError, OSError, AssertionError, RuntimeError) as error:
            rows[name] = '-'
            problems.append(_import_problem(name, error))
    return Look(rows, problems)


def look_at_opencv() -> Look:
    """All four write the same `cv2` folder: with two of them, which one answers is chance."""
    versions = {name: [it.version for it in metadata.distributions(name=name)] for name in OPENCVS}
    full = {name: [it for it in found if not it.endswith(EMPTY)] for name, found in versions.items()}
    found = {name: ', '.join(it) for name, it in full.items() if it}
    rows = {**found, 'windows': _windows()}
    if len(found) == 1:
        return Look(rows, [])
    what = f'{len(found)} OpenCVs are installed ({", ".join(found)})' if found else 'no OpenCV is installed'
    return Look(rows, [Problem(f'{what}, and it should be one', opencv_command())])


def _windows() -> str:
    """What the OpenCV that answers shows windows with; a headless one needs no libGL."""
    try:
        built = importlib.import_module('cv2').getBuildInformation()
    except (ImportError, OSError):
        return '-'
    gui = re.search(r'GUI:\s*(\S+)', built)
    return (
        'none (headless)' if gui and gui.group(1) == 'NONE' else f'{gui.group(1) if gui else "unknown"} (needs libGL)'
    )


def look_at_optional() -> Look:
    """What else can be used; nothing is wrong without."""
    rows = {}
    for name, purpose in OPTIONAL.items():
        try:
            rows[name] = f'{metadata.version(name)}, for {purpose}'
        except metadata.PackageNotFoundError:
            rows[name] = f'not there, for {purpose}: pip install {name}'
    return Look(rows, [])
