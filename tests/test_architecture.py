"""The house's arrows: which part may import which, and what an import may load."""

import ast
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'damamba'
FILES = sorted(PACKAGE.rglob('*.py'))
OPENMMLAB = ('mmcv', 'mmdet', 'mmengine')
MAY_IMPORT_OPENMMLAB = (
    'register', 'mmcv_ops', 'engine', 'detection', 'torchvision_detection', 'evaluation', 'datasets', 'cli',
    'inference', 'tuning', 'types', 'doctor',
)  # fmt: skip
MAY_IMPORT = {  # besides the standard library, for the parts that promise to need no more
    'ops': ('torch', 'damamba.ops'),
    'execution': ('torch', 'damamba.ops', 'damamba.execution'),
    'models': ('torch', 'damamba.ops', 'damamba.execution', 'damamba.models', 'damamba.checkpoint'),
    'checkpoint': (  # filelock is torch's own
        'torch',
        'filelock',
        'numpy',
        'safetensors',
        'damamba.checkpoint',
        'damamba.durable',
    ),
    'durable': (),
    'tables': ('rich',),
    'picking': ('cv2', 'numpy', 'pycocotools', 'damamba.datasets.run_lengths'),
    'run_record': ('damamba.run_record', 'damamba.durable'),
}
COMPILERS = {  # beside these, where kernels are written: loaded when a kernel first runs
    'triton_kernels.py': ['triton'],
    'triton_needs.py': ['triton'],
    'numba_kernels.py': ['numba'],
    'entry.py': ['numba', 'llvmlite'],
    'lanes.py': ['numba', 'llvmlite'],
}
LEVELS = {  # arrows point from a higher level to a lower one, or stay on their own
    'ops': 0,
    'tables': 0,
    'durable': 0,
    'checkpoint': 0,
    'mmcv_ops': 0,
    'types': 0,
    'run_record': 0,
    'execution': 1,
    'models': 2,
    'register': 3,
    'engine': 3,
    'detection': 3,
    'torchvision_detection': 3,
    'evaluation': 3,
    'datasets': 3,
    'reporting': 3,
    'inference': 3,
    'tuning': 3,
    'cli': 4,
    '__main__': 5,
}


def module_of(path, package=PACKAGE):
    """damamba/ops/backend.py -> damamba.ops.backend; damamba/ops/__init__.py -> damamba.ops."""
    parts = path.relative_to(package.parent).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def part_of(module):
    """damamba.ops.backend -> ops; damamba -> ''."""
    return module.split('.')[1] if '.' in module else ''


def imports_of(tree, module, is_package):
    """Every module that a file's import statements name, wherever in the file they stand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                parents = module.split('.')
                parents = parents[: len(parents) - node.level + is_package]
                base = '.'.join([*parents, base] if base else parents)
            yield base
            yield from (f'{base}.{alias.name}' for alias in node.names)


def read_imports(path):
    tree = ast.parse(path.read_text(encoding='utf-8'))
    return sorted(set(imports_of(tree, module_of(path), path.name == '__init__.py')))


IMPORTS = {path: read_imports(path) for path in FILES}


def within(module, names):
    return any(module == name or module.startswith(f'{name}.') for name in names)


def offenders(is_wrong):
    """The imports that break a rule, as readable lines."""
    return [
        f'{path.relative_to(ROOT)} imports {name}'
        for path, names in IMPORTS.items()
        for name in names
        if is_wrong(path, part_of(module_of(path)), name)
    ]


def test_the_reader_of_imports_sees_every_kind_of_them():
    source = """
        import os, a.b as c
        from d import e
        from . import f
        from .g import h
        from ..i import j
        def later():
            if True:
                import k
    """
    tree = ast.parse(textwrap.dedent(source))
    found = set(imports_of(tree, 'damamba.x.y', is_package=False))
    wanted = {'damamba.x', 'damamba.x.f', 'damamba.x.g', 'damamba.x.g.h', 'damamba.i', 'damamba.i.j'}
    assert found == {'os', 'a.b', 'd', 'd.e', 'k'} | wanted
    assert 'damamba.x.y.f' in set(imports_of(tree, 'damamba.x.y', is_package=True))
    assert IMPORTS[PACKAGE / 'models' / '__init__.py'], 'the package was not read'


@pytest.mark.parametrize('part', MAY_IMPORT)
def test_a_part_that_promises_to_need_little_imports_no_more(part):
    def is_wrong(path, own, name):
        allowed = (*sys.stdlib_module_names, *MAY_IMPORT[part], *COMPILERS.get(path.name, ()))
        return own == part and name != 'damamba' and not within(name, allowed)  # the package itself is a version

    assert offenders(is_wrong) == []


def test_no_part_imports_one_that_lies_above_it():
    def is_wrong(path, own, name):
        return name.startswith('damamba.') and LEVELS.get(part_of(name), 0) > LEVELS.get(own, 3)

    assert offenders(is_wrong) == []


def test_datasets_evaluation_and_reporting_import_neither_operators_nor_models():
    def is_wrong(path, own, name):
        return own in ('datasets', 'evaluation', 'reporting') and within(
            name, ('damamba.ops', 'damamba.execution', 'damamba.models')
        )

    assert offenders(is_wrong) == []


def test_nothing_imports_tools_tests_or_benchmarks():
    assert offenders(lambda path, own, name: within(name, ('tools', 'tests', 'benchmarks'))) == []


def test_only_the_parts_around_the_trainer_import_openmmlab():
    assert offenders(lambda path, own, name: within(name, OPENMMLAB) and own not in MAY_IMPORT_OPENMMLAB) == []


def test_reporting_imports_no_torch():
    assert offenders(lambda path, own, name: own == 'reporting' and within(name, ('torch', 'torchvision'))) == []


def test_what_python_runs_when_it_starts_imports_next_to_nothing():
    assert IMPORTS[PACKAGE / '__init__.py'] == []
    top = ast.parse((PACKAGE / 'mmcv_ops' / '__init__.py').read_text(encoding='utf-8')).body
    assert [ast.unparse(it) for it in top if isinstance(it, ast.Import | ast.ImportFrom)] == ['import sys']


def calls_and_handlers(path):
    """The print calls and bare excepts of a file, as file:line."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        is_print = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'print'
        is_bare = isinstance(node, ast.ExceptHandler) and node.type is None
        if is_print or is_bare:
            yield f'{path.relative_to(ROOT)}:{node.lineno} {"print" if is_print else "bare except"}'


def test_the_library_neither_prints_nor_swallows_every_exception():
    assert [line for path in FILES for line in calls_and_handlers(path)] == []


@pytest.fixture(scope='module')
def loaded():
    """What each import, one after the other in a fresh process, has loaded by then: {module: [names]}."""
    program = """
        import importlib, importlib.util, json, sys
        loaded = {}
        for name in ('damamba', 'damamba.reporting', 'damamba.checkpoint', 'damamba.ops', 'damamba.models'):
            if importlib.util.find_spec(name):
                importlib.import_module(name)
                loaded[name] = sorted({module.split('.')[0] for module in sys.modules})
        print(json.dumps(loaded))
    """
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    command = [sys.executable, '-B', '-W', 'ignore', '-c', textwrap.dedent(program)]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize('module', ['damamba', 'damamba.reporting'])
def test_importing_the_package_or_its_reporting_loads_no_torch(module, loaded):
    if not (PACKAGE / 'reporting').is_dir() and module == 'damamba.reporting':
        pytest.skip('there is no damamba.reporting yet')
    assert 'torch' not in loaded[module]


@pytest.mark.parametrize('module', ['damamba.checkpoint', 'damamba.ops', 'damamba.models'])
def test_importing_operators_models_or_checkpoints_loads_no_openmmlab_package(module, loaded):
    assert 'torch' in loaded[module]
    assert not set(loaded[module]) & set(OPENMMLAB)
