"""The package: ranges of versions and extras. The versions that are tested together are in requirements.txt."""

import base64
import hashlib
import re
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from setuptools import find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.editable_wheel import editable_wheel

HERE = Path(__file__).resolve().parent
README = HERE / 'README.md'

# Python runs this line whenever it starts: MMDetection's own tools import mmcv.ops before they read a config.
START_UP = 'damamba-mmcv-ops.pth'
LINE = b"import sys; exec('try:\\n from damamba.mmcv_ops import install\\n install()\\nexcept ImportError: pass')\n"

DETECTION = [
    'onedl-mmengine>=0.10.12,<0.11',
    'onedl-mmcv>=2.3.6,<2.4',
    'onedl-mmdetection>=3.5.1,<3.6',
    'torchvision>=0.25',
    'pycocotools>=2.0.10',
    'faster-coco-eval>=1.7',
    'opencv-python-headless>=4.10,<4.13',
    'matplotlib>=3.8',
    'pillow>=10',
    'pyyaml>=6',
    'defusedxml>=0.7',
    'supervision>=0.27',
    'rich>=13',
    'jinja2>=3.1',
    'huggingface_hub>=0.30',
]
SERVING = ['gradio>=6,<7', 'pandas>=2']
TUNING = ['optuna>=5,<6', 'psycopg2-binary>=2.9']  # the latter for studies in PostgreSQL
# timm is measured beside, and transformers is what converted weights are held against.
DEV = ['pytest>=8', 'pytest-xdist>=3.6', 'hypothesis>=6', 'ruff>=0.9', 'timm>=1.0', 'transformers>=5,<6']


def read_version() -> str:
    text = (HERE / 'damamba' / '__init__.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ = '(.+)'$", text, re.MULTILINE).group(1)


def complete(wheel: Path, more: dict[str, bytes]) -> None:
    """Put more files into a wheel, and into its record, so that they go when it is uninstalled."""
    with ZipFile(wheel) as archive:
        files = {info: archive.read(info) for info in archive.infolist()}
    (record,) = [info for info in files if info.filename.endswith('.dist-info/RECORD')]
    for name, content in more.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=')
        files[record] = b'%s,sha256=%s,%d\n' % (name.encode(), digest, len(content)) + files[record]
    with ZipFile(wheel, 'w', ZIP_DEFLATED) as archive:
        for info, content in {**{ZipInfo(it, record.date_time): more[it] for it in more}, **files}.items():
            archive.writestr(info, content)


def configs() -> dict[str, bytes]:
    """The config files, where MMDetection's lie in its own wheel: names of published models stand for them."""
    return {f'damamba/.mim/{path.relative_to(HERE)}': path.read_bytes() for path in HERE.glob('configs/**/*.py')}


class WithMore:
    """A command that builds a wheel, the last in its folder; beside the package lands what runs at start-up."""

    def run(self) -> None:
        super().run()
        wheel = max(Path(self.dist_dir).glob('*.whl'), key=lambda path: path.stat().st_mtime_ns)
        complete(wheel, {START_UP: LINE, **self.more()})

    def more(self) -> dict[str, bytes]:
        return {}


class Wheel(WithMore, bdist_wheel):
    def more(self) -> dict[str, bytes]:
        return configs()


class EditableWheel(WithMore, editable_wheel):
    """Its configs are those of the checkout."""


setup(
    name='damamba',
    version=read_version(),
    description='DAMamba, a vision state-space backbone with dynamic adaptive scan, for MMDetection',
    long_description=README.read_text(encoding='utf-8') if README.exists() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['damamba*']),
    package_data={
        'damamba.reporting': ['templates/*.j2', '*.csv', 'charts/*.mplstyle'],
        'damamba.run_record': ['*.csv'],
        'damamba.inference': ['*.csv'],
    },
    python_requires='>=3.10',
    install_requires=['torch>=2.10', 'numpy', 'numba>=0.60', 'safetensors'],
    extras_require={
        'detection': DETECTION,
        'tuning': TUNING,
        'serving': SERVING,
        'dev': DEV,
        'all': DETECTION + TUNING + SERVING + DEV,
    },
    entry_points={'console_scripts': ['damamba = damamba.__main__:main']},
    cmdclass={'bdist_wheel': Wheel, 'editable_wheel': EditableWheel},
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in range(10, 15)),
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)
