"""Set up a virtual environment: the tested versions, onedl-mmcv compiled against its torch, and one OpenCV.

Run in a checkout, by any Python 3.10 to 3.12 (`make install` does): python3 -m damamba.cli.install [--venv .venv]
Only the standard library is imported, since nothing else is there yet. The plan is data, a list of `Step`; the notes
that finished steps leave in the environment are what a later call builds on.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass, field
from pathlib import Path

from damamba.cli.environment import (
    ROOT,
    Facts,
    ask_facts,
    fingerprint,
    has_nvidia_device,
    is_ready,
    read_notes,
    read_pins,
    say,
    venv_python,
    write_notes,
)
from damamba.cli.toolchain import (
    compiler_problem,
    find_compiler,
    find_cuda,
    nvcc_problem,
    python_problem,
    venv_problem,
)

LOG = 'damamba-install.log'
BUILD_TOOLS = ['wheel', 'ninja', 'psutil', 'packaging']
OTHER_OPENCV = ['opencv-python', 'opencv-contrib-python', 'opencv-contrib-python-headless']


@dataclass(frozen=True)
class Step:
    says: str
    command: list[str]
    advice: str  # what to do when the command fails
    env: dict[str, str] = field(default_factory=dict)
    notes: dict = field(default_factory=dict)  # written down once the command has succeeded
    shown: bool = False  # its output goes to the terminal, not to the log


def check_machine(version: tuple[int, int] | None, venv: Path, env: dict[str, str]) -> None:
    """Stop, in one sentence, before anything is downloaded. `version`: of the environment that is there already."""
    problem = compiler_problem(env)
    if version:
        problem = python_problem(version, str(venv), f'rm -rf {venv} && ') or problem
    else:
        running = sys.version_info[:2]
        has_ensurepip = importlib.util.find_spec('ensurepip') is not None
        ours = venv_problem(running, has_ensurepip, sysconfig.get_path('include'))
        problem = python_problem(running, sys.executable) or ours or problem
    if problem:
        raise SystemExit(problem)


# What to do -------------------------------------------------------------------------------------------------------


def pip(venv: Path, *arguments: str) -> list[str]:
    return [str(venv / 'bin' / 'python'), '-m', 'pip', '--disable-pip-version-check', *arguments]


def torch_steps(venv: Path, pins: dict[str, str], index: str, fresh: bool, changed: bool) -> list[Step]:
    """Up to torch. `changed`: the torch that is there came from another index, and mmcv was compiled against it."""
    again = 'Mend what pip says above (a network? a full disk?), then run `make install` again: it continues.'
    chosen, other = [], again
    if index:
        chosen = ['--index-url', index]
        other = f'{again} Or take the tested torch: `make install TORCH_INDEX=https://pypi.org/simple`.'
    steps = []
    if fresh:
        command = [sys.executable, '-m', 'venv', str(venv)]
        steps += [Step(f'{venv}, by {sys.executable}', command, f'Run `rm -rf {venv}`, then `make install` again.')]
    if changed:
        command = pip(venv, 'uninstall', '-y', 'torch', 'torchvision', 'onedl-mmcv')
        steps += [Step('torch from another index: the old one goes', command, again, notes={'mmcv': None})]
    tools = pip(venv, 'install', pins['setuptools'], *BUILD_TOOLS)
    torch = pip(venv, 'install', *chosen, pins['torch'], pins['torchvision'])
    return [
        *steps,
        Step('what builds onedl-mmcv', tools, again, notes={'index': index}),
        Step(f'{pins["torch"]} and {pins["torchvision"]}, up to 5 GB', torch, other),
    ]


def wants_cuda(facts: Facts, env: dict[str, str]) -> bool:
    """Whether onedl-mmcv will compile its CUDA operators."""
    return bool(facts.cuda and facts.gpus) or env.get('FORCE_CUDA') == '1'


def build_key(facts: Facts, env: dict[str, str]) -> str:
    """What a compiled onedl-mmcv fits: 'torch-2.11.0+cu130-cpu', 'torch-2.11.0+cu130-cuda-9.0'."""
    kind = 'cpu'
    if wants_cuda(facts, env):
        kind = f'cuda-{env.get("TORCH_CUDA_ARCH_LIST") or "_".join(facts.gpus) or "all"}'
    return re.sub(r'[^\w.+-]+', '_', f'torch-{facts.torch}-{kind}')


def mmcv_fits(facts: Facts, pins: dict[str, str], built: str | None, key: str) -> bool:
    """Whether the onedl-mmcv that is there can stay. CUDA operators serve a machine without a GPU too."""
    if f'onedl-mmcv=={facts.mmcv}' != pins['onedl-mmcv'] or facts.ops is None:
        return False
    if key.endswith('-cpu'):
        return built is None or built.startswith(f'torch-{facts.torch}-')
    return facts.ops == 'cuda' and built in (None, key)


def mmcv_step(venv: Path, pins: dict[str, str], key: str, caches: str | None, env: dict[str, str]) -> Step:
    """`caches`: pip's cache folder, None if off. It knows nothing of torch, so each torch gets one of its own in it."""
    cache = ['--cache-dir', f'{caches}/damamba-{key}'] if caches else ['--no-cache-dir']
    options = ['-v', '--no-build-isolation', '--no-deps', '--force-reinstall', *cache]
    advice = 'Mend what the compiler says above, then run `make install` again: it continues.'
    says = f'{pins["onedl-mmcv"]}, compiled for {key} (up to 20 minutes; progress: tail -f {venv / LOG})'
    return Step(says, pip(venv, 'install', *options, pins['onedl-mmcv']), advice, env, {'mmcv': key})


def last_steps(venv: Path, pins: dict[str, str], done: dict) -> list[Step]:
    """After mmcv. imaug asks for two OpenCVs, which overwrite each other's files: the headless one stays, alone."""
    again = 'Mend what pip says above, then run `make install` again: it continues.'
    headless = pip(venv, 'install', '--no-deps', '--force-reinstall', pins['opencv-python-headless'])
    ourselves = pip(venv, 'install', '--no-deps', '--no-build-isolation', '-e', str(ROOT))
    check = [str(venv / 'bin' / 'python'), '-m', 'damamba.cli.check']
    return [
        Step('the other requirements', pip(venv, 'install', *pins.values()), again),
        Step('damamba itself, editable', ourselves, again),
        Step('one OpenCV', pip(venv, 'uninstall', '-y', *OTHER_OPENCV), again),
        Step('one OpenCV', headless, again),
        Step('the last check', check, 'Run what the check says above.', notes={'done': done}, shown=True),
    ]


def finish_steps(
    venv: Path, pins: dict[str, str], facts: Facts, notes: dict, caches: str | None, env: dict[str, str]
) -> list[Step]:
    """From mmcv on. Stops in one sentence where nvcc would not compile for this torch."""
    key = build_key(facts, env)
    build_env = {'CXX': find_compiler(env)}
    if wants_cuda(facts, env):
        home, release = find_cuda(env, facts.cuda)
        problem = nvcc_problem(facts.cuda, release)
        if problem:
            raise SystemExit(problem)
        build_env['CUDA_HOME'] = str(home)
    done = {'fingerprint': fingerprint(), 'gpu': has_nvidia_device() or '-cuda' in key}
    keep = mmcv_fits(facts, pins, notes.get('mmcv'), key)
    build = [] if keep else [mmcv_step(venv, pins, key, caches, build_env)]
    return build + last_steps(venv, pins, done)


# Do it ------------------------------------------------------------------------------------------------------------


def last_lines(log: Path, count: int) -> list[str]:
    return log.read_text(encoding='utf-8', errors='replace').splitlines()[-count:]


def wait_for(process: subprocess.Popen, log: Path) -> int:
    """The exit status; every minute a line says how far it is."""
    while True:
        try:
            return process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            say(f'  ... {"".join(last_lines(log, 1)).strip()[:80]}')


def run_logged(step: Step, venv: Path) -> int:
    """Run the command with the environment's programs (ninja) on PATH; returns the exit status."""
    path = f'{venv / "bin"}{os.pathsep}{os.environ.get("PATH", "")}'
    env = {**os.environ, **step.env, 'PATH': path, 'PYTHONUNBUFFERED': '1'}
    with (venv / LOG).open('wb') as log:
        output = {} if step.shown else {'stdout': log, 'stderr': subprocess.STDOUT}
        process = subprocess.Popen(step.command, cwd=ROOT, env=env, **output)
        try:
            return wait_for(process, venv / LOG)
        except KeyboardInterrupt:
            process.terminate()
            raise


def run_step(step: Step, venv: Path) -> None:
    """A command that fails shows the end of its output and stops with the advice."""
    say(f'* {step.says}')
    began = time.monotonic()
    failed = run_logged(step, venv)
    if failed:
        command = shlex.join(step.command)
        say('\n'.join([*last_lines(venv / LOG, 100), f'`{command}` failed with status {failed}.']))
        raise SystemExit(step.advice)
    if not step.shown:
        say(f'  {time.monotonic() - began:.0f} s')


def carry_out(steps: list[Step], venv: Path) -> None:
    for step in steps:
        run_step(step, venv)
        if step.notes:
            write_notes(venv, {**read_notes(venv), **step.notes})


def cache_folder(venv: Path) -> str | None:
    """pip's own cache folder; None where PIP_NO_CACHE_DIR or pip's configuration turns it off."""
    answer = subprocess.run(pip(venv, 'cache', 'dir'), capture_output=True, text=True)
    return answer.stdout.strip() if answer.returncode == 0 else None


def show(steps: list[Step]) -> None:
    for step in steps:
        settings = [f'{name}={value}' for name, value in step.env.items()]
        say(f'# {step.says}\n{shlex.join([*settings, *step.command])}')


def rehearse(venv: Path, pins: dict[str, str], steps: list[Step], changed: bool) -> None:
    """Show the commands; those after torch, while it is not there, as for a machine without a GPU."""
    show(steps)
    known = not changed and any(venv.glob('lib/python3*/site-packages/torch/version.py'))
    facts = ask_facts(venv) if known else Facts(pins['torch'].split('==')[1])
    caches = cache_folder(venv) if known else '<pip cache dir>'
    show(finish_steps(venv, pins, facts, read_notes(venv), caches, dict(os.environ)))


def install(venv: Path, index: str, dry_run: bool) -> None:
    """`index`: where torch comes from, '' for pip's own."""
    pins = read_pins((ROOT / 'requirements.txt').read_text(encoding='utf-8'))
    if is_ready(venv, pins, index, has_nvidia_device()):
        say(f'{venv} is ready.')
        return
    version = venv_python(venv)
    check_machine(version, venv, dict(os.environ))
    fresh, changed = version is None, version is not None and read_notes(venv).get('index', '') != index
    steps = torch_steps(venv, pins, index, fresh, changed)
    if dry_run:
        rehearse(venv, pins, steps, changed)
        return
    venv.mkdir(parents=True, exist_ok=True)
    write_notes(venv, {**read_notes(venv), 'done': None})
    carry_out(steps, venv)
    facts = ask_facts(venv)
    carry_out(finish_steps(venv, pins, facts, read_notes(venv), cache_folder(venv), dict(os.environ)), venv)
    say(f'{venv} is ready.')


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='python3 -m damamba.cli.install', description=__doc__.splitlines()[0])
    parser.add_argument('--venv', type=Path, default=Path('.venv'), help='the environment (default: .venv)')
    parser.add_argument(
        '--torch-index',
        metavar='URL',
        help='the package index of another torch, such as https://download.pytorch.org/whl/cpu; '
        'without it the last one that was given, or else the one that pip is set to',
    )
    parser.add_argument('--dry-run', action='store_true', help='show the commands and run none of them')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """The command; ends in a SystemExit with one sentence where something is wrong."""
    args = parse_arguments(arguments)
    venv = args.venv.absolute()
    index = args.torch_index.rstrip('/') if args.torch_index else read_notes(venv).get('index', '')
    try:
        install(venv, index, args.dry_run)
    except KeyboardInterrupt:
        raise SystemExit('Interrupted; run `make install` again: it continues.') from None


if __name__ == '__main__':
    main()
