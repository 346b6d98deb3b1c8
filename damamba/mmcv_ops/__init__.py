"""Makes `mmcv.ops` work where onedl-mmcv was installed without compiling: torchvision's operators stand in.

`import mmcv.ops` needs the module `mmcv._ext`, which onedl-mmcv compiles where its build sees torch, and leaves out
without a word where not, as in pip's isolated builds. `install` adds a finder that gives the module
`damamba/mmcv_ops/stand_in.py` under that name where there is no compiled one, or none that loads. `damamba.register`
calls it, and so does a `.pth` beside the installed package whenever Python starts: hence nothing but `sys` is imported
here before it is needed.
"""

import sys

EXTENSION = 'mmcv._ext'


class ExtensionFinder:
    """Finds `mmcv._ext`: the compiled one where it loads, else the stand-in; leaves all other modules to others."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != EXTENSION:
            return None
        from importlib.machinery import PathFinder
        from importlib.util import spec_from_file_location

        compiled = PathFinder.find_spec(name, path)
        if compiled is not None and _loads(compiled):
            return compiled
        return spec_from_file_location(name, f'{__path__[0]}/stand_in.py')


def _loads(compiled) -> bool:
    """Whether an extension loads with this torch; warns if not: it was compiled for another one, most often."""
    import ctypes
    import warnings

    import torch  # noqa: F401  whose libraries it is linked to

    try:
        ctypes.CDLL(compiled.origin or 'nothing but a folder').PyInit__ext  # noqa: B018
    except (OSError, AttributeError) as error:
        warnings.warn(f"mmcv's compiled operators do not load, torchvision's stand in ({error})", stacklevel=2)
        return False
    return True


def install() -> None:
    """Add the finder, once a process."""
    if ExtensionFinder not in sys.meta_path:
        sys.meta_path.insert(0, ExtensionFinder)


def compile_command() -> str:
    """What compiles onedl-mmcv's operators against the torch of this interpreter, in the version that is installed."""
    from importlib.metadata import version

    pip = f'{sys.executable} -m pip install'
    options = '--no-build-isolation --no-cache-dir --force-reinstall --no-deps'
    return f"{pip} 'setuptools>=80,<82' wheel ninja psutil && {pip} {options} onedl-mmcv=={version('onedl-mmcv')}"


def describe() -> str:
    """Which operators `mmcv.ops` has: 'torchvision', or 'compiled' and for what.

    Raises:
        ImportError: onedl-mmcv is not installed.
    """
    from importlib import import_module

    install()
    extension = import_module(EXTENSION)
    if extension.get_compiler_version() == 'torchvision':
        return 'torchvision'
    cuda = extension.get_compiling_cuda_version()
    return 'compiled for the CPU' if cuda == 'not available' else f'compiled for CUDA {cuda}'
