"""The first line of requirements.txt: stops a plain `pip install -r requirements.txt` that could not end well.

pip reads this before it downloads anything. It goes on only where the tested torch is there, with onedl-mmcv compiled
beside it, and where the second OpenCV that pip would add can be loaded. pip hides site-packages from a build, so that
files are looked for, and nothing is imported.
"""

import ctypes
import site
import sysconfig
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from setuptools import setup

SENTENCE = (
    'DAMamba: onedl-mmcv compiles against the torch that is already installed, which a plain '
    '`pip install -r requirements.txt` cannot arrange; run `make install` instead (or see README, Install).'
)


def find(pattern):
    """The first match in the site-packages of the interpreter that pip installs into."""
    folders = [sysconfig.get_path('platlib'), sysconfig.get_path('purelib'), *site.getsitepackages()]
    if site.getuserbase():
        folders.append(site.getusersitepackages())
    return next((path for folder in folders for path in Path(folder).glob(pattern)), None)


def is_tested(name):
    """Whether the version that requirements.txt pins is installed, with or without a suffix such as +cpu."""
    lines = (Path(__file__).resolve().parents[2] / 'requirements.txt').read_text(encoding='utf-8').split()
    version = next(line.split('==')[1] for line in lines if line.startswith(f'{name}=='))
    stem = f'{name.replace("-", "_")}-{version}'
    return bool(find(f'{stem}.dist-info') or find(f'{stem}+*.dist-info'))


def has_operators():
    return any(find(f'mmcv/_ext{suffix}') for suffix in EXTENSION_SUFFIXES)


def has_libgl():
    try:
        ctypes.CDLL('libGL.so.1')
    except OSError:
        return False
    return True


if not (is_tested('torch') and is_tested('onedl-mmcv') and has_operators() and has_libgl()):
    raise SystemExit(SENTENCE)

setup(name='damamba-require-mmcv', version='1', description='Has onedl-mmcv its compiled operators?', py_modules=[])
