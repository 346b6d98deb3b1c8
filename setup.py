"""The package: ranges of versions and extras. The versions that are tested together are in requirements.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
README = HERE / 'README.md'

DETECTION = [
    'onedl-mmengine>=0.10.12,<0.11',
    'onedl-mmcv>=2.3.6,<2.4',
    'onedl-mmdetection>=3.5.1,<3.6',
    'pycocotools>=2.0.10',
    'faster-coco-eval>=1.7',
    'opencv-python-headless>=4.10,<4.13',
    'matplotlib>=3.8',
    'pillow>=10',
    'supervision>=0.27',
    'rich>=13',
    'jinja2>=3.1',
]
TUNING = ['optuna>=5,<6', 'psycopg2-binary>=2.9']  # the latter for studies in PostgreSQL
DEV = ['pytest>=8', 'ruff>=0.9', 'timm>=1.0']  # timm's backbones are what benchmarks compare with


def read_version() -> str:
    text = (HERE / 'damamba' / '__init__.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ = '(.+)'$", text, re.MULTILINE).group(1)


setup(
    name='damamba',
    version=read_version(),
    description='DAMamba, a vision state-space backbone with dynamic adaptive scan, for MMDetection',
    long_description=README.read_text(encoding='utf-8') if README.exists() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['damamba*']),
    package_data={'damamba.reporting': ['templates/*.j2']},
    python_requires='>=3.10,<3.13',
    install_requires=['torch>=2.10', 'numpy', 'numba>=0.60', 'safetensors'],
    extras_require={'detection': DETECTION, 'tuning': TUNING, 'dev': DEV, 'all': DETECTION + TUNING + DEV},
    entry_points={'console_scripts': ['damamba = damamba.__main__:main']},
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)
