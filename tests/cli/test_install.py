"""The set-up: its plan, what it writes down, and what it says. No command of the plan is run."""

import json
import sys

import pytest

from damamba.cli import environment, install
from damamba.cli.environment import ROOT, Facts, fingerprint, is_intact, is_ready, read_notes, read_pins, write_notes

PINS = read_pins((ROOT / 'requirements.txt').read_text(encoding='utf-8'))
CPU_INDEX = 'https://download.pytorch.org/whl/cpu'
ON_CPU = Facts('2.11.0+cu130', '13.0')
ON_GPU = Facts('2.11.0+cu130', '13.0', ('9.0',))


def fill(venv):
    """What an environment looks like after the set-up: names of files only."""
    site = venv / 'lib' / 'python3.11' / 'site-packages'
    names = [pin.replace('-', '_').replace('==', '-') + '.dist-info' for pin in PINS.values()]
    for name in [*names, 'mmcv']:
        (site / name).mkdir(parents=True)
    (site / 'mmcv' / '_ext.cpython-311-x86_64-linux-gnu.so').touch()
    (venv / 'bin').mkdir()
    (venv / 'bin' / 'python').touch()
    return site


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine without a GPU where commands are recorded instead of run; a call of it is `make install`."""

    class Machine:
        venv = tmp_path / 'venv'
        facts = ON_CPU
        breaks_at = None
        ran: list = []

        def __call__(self, *arguments):
            self.ran.clear()
            install.main(['--venv', str(self.venv), *arguments])
            return [step.says for step in self.ran]

        def run(self, step, venv):
            self.ran.append(step)
            if step.says.startswith('the last check'):
                self.facts = Facts(
                    *list(self.facts.__dict__.values())[:3], '2.3.6', 'cuda' if self.facts.gpus else 'cpu'
                )
            elif '-m venv' in ' '.join(step.command):
                fill(venv)
            return 1 if self.breaks_at and self.breaks_at in step.says else 0

        def command(self, word):
            return next(' '.join(step.command) for step in self.ran if word in step.says)

    it = Machine()
    for name in ('TORCH_CUDA_ARCH_LIST', 'FORCE_CUDA', 'CUDA_HOME', 'CUDA_PATH', 'CXX'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(install, 'run_logged', it.run)
    monkeypatch.setattr(install, 'last_lines', lambda log, count: ['what pip said'])
    monkeypatch.setattr(install, 'ask_facts', lambda venv: it.facts)
    monkeypatch.setattr(install, 'venv_python', lambda venv: (3, 11) if (venv / 'bin').exists() else None)
    monkeypatch.setattr(install, 'cache_folder', lambda venv: '/cache')
    monkeypatch.setattr(install, 'check_machine', lambda version, venv, env: None)
    monkeypatch.setattr(install, 'has_nvidia_device', lambda: bool(it.facts.gpus))
    return it


def test_every_requirement_is_pinned_but_the_one_that_guards_mmcv():
    lines = (ROOT / 'requirements.txt').read_text(encoding='utf-8').splitlines()
    lines = [line for line in lines if line and not line.startswith('#')]
    assert lines[0] == './tools/require_mmcv'
    assert lines[1:] == list(PINS.values())


def test_the_first_call_installs_torch_before_mmcv_and_checks_last(machine):
    said = machine()
    order = [
        'by ',
        'what builds',
        'torch==',
        'onedl-mmcv==',
        'other requirements',
        'damamba itself',
        'OpenCV',
        'last check',
    ]
    places = [next(i for i, text in enumerate(said) if word in text) for word in order]
    assert places == sorted(places)
    assert said[-1] == 'the last check'


def test_the_tested_torch_comes_from_pips_own_index(machine):
    machine()
    assert machine.command('torch==').endswith('install torch==2.11.0 torchvision==0.26.0')


def test_mmcv_is_compiled_without_isolation_from_a_cache_of_this_torch(machine):
    machine()
    command = machine.command('onedl-mmcv==')
    assert '--no-build-isolation --no-deps --force-reinstall' in command
    assert '--cache-dir /cache/damamba-torch-2.11.0+cu130-cpu onedl-mmcv==2.3.6' in command


def test_mmcv_is_compiled_without_a_cache_where_pips_is_off(machine, monkeypatch):
    monkeypatch.setattr(install, 'cache_folder', lambda venv: None)
    machine()
    assert '--no-cache-dir onedl-mmcv' in machine.command('onedl-mmcv==')


def test_the_requirements_are_given_as_text_so_that_the_guard_is_not_met(machine):
    machine()
    assert 'require_mmcv' not in machine.command('other requirements')
    assert machine.command('other requirements').endswith(' '.join(PINS.values()))


def test_the_headless_opencv_is_installed_again_after_the_others_are_gone(machine):
    machine()
    commands = [' '.join(step.command) for step in machine.ran]
    gone = next(i for i, text in enumerate(commands) if 'uninstall -y opencv-python ' in text)
    assert '--no-deps --force-reinstall opencv-python-headless==4.12.0.88' in commands[gone + 1]


def test_a_second_call_runs_nothing_and_says_so(machine, capsys):
    machine()
    capsys.readouterr()
    assert machine() == []
    assert capsys.readouterr().out == f'{machine.venv} is ready.\n'


def test_a_second_call_starts_no_process(machine, monkeypatch):
    machine()
    for name in ('run', 'Popen'):
        monkeypatch.setattr(environment.subprocess, name, lambda *_, **__: pytest.fail('a process was started'))
    assert machine() == []


def test_a_call_without_an_index_keeps_the_one_before(machine):
    machine('--torch-index', CPU_INDEX)
    assert f'--index-url {CPU_INDEX} torch==2.11.0 torchvision==0.26.0' in machine.command('torch==')
    assert machine() == []
    assert machine('--torch-index', CPU_INDEX + '/') == []


def test_another_index_removes_torch_and_compiles_mmcv_again(machine):
    machine()
    machine.facts = Facts('2.11.0+cpu', None, (), None, None)
    said = machine('--torch-index', CPU_INDEX)
    assert 'uninstall -y torch torchvision onedl-mmcv' in machine.command('another index')
    assert any('onedl-mmcv==2.3.6, compiled for torch-2.11.0+cpu-cpu' in text for text in said)
    assert read_notes(machine.venv)['index'] == CPU_INDEX


def test_a_failing_pip_is_shown_with_what_to_do_and_the_next_call_continues(machine, capsys):
    machine.breaks_at = 'other requirements'
    with pytest.raises(SystemExit, match='Mend what pip says above, then run `make install` again: it continues'):
        machine()
    assert 'what pip said' in capsys.readouterr().out
    machine.breaks_at, machine.facts = None, Facts('2.11.0+cu130', '13.0', (), '2.3.6', 'cpu')
    said = machine()
    assert not any('compiled for' in text for text in said)
    assert said[-1] == 'the last check'


def test_an_index_without_the_tested_torch_names_the_one_that_has_it(machine):
    machine.breaks_at = 'torch==2.11.0 and'
    with pytest.raises(SystemExit, match=r'`make install TORCH_INDEX=https://pypi\.org/simple`'):
        machine('--torch-index', 'https://a.typo/simple')


def test_a_failing_check_leaves_the_environment_unfinished(machine):
    machine.breaks_at = 'last check'
    with pytest.raises(SystemExit, match='Run what the check says above'):
        machine()
    assert read_notes(machine.venv)['done'] is None


def test_an_interrupt_says_that_the_next_call_continues(machine, monkeypatch):
    def interrupt(step, venv):
        raise KeyboardInterrupt

    monkeypatch.setattr(install, 'run_logged', interrupt)
    with pytest.raises(SystemExit, match='Interrupted; run `make install` again: it continues'):
        machine()


def test_a_dry_run_shows_the_commands_and_runs_none(machine, capsys):
    assert machine('--dry-run') == []
    shown = capsys.readouterr().out
    assert '-m pip --disable-pip-version-check install torch==2.11.0' in shown
    assert not machine.venv.exists()


def toolkit(folder, release):
    """A CUDA toolkit with nothing but an nvcc that tells its version, and the header that torch needs."""
    (folder / 'bin').mkdir(parents=True)
    (folder / 'include').mkdir()
    (folder / 'include' / 'cuda_runtime.h').touch()
    nvcc = folder / 'bin' / 'nvcc'
    nvcc.write_text(f'#!/bin/sh\necho "Cuda compilation tools, release {release}, V{release}.93"\n')
    nvcc.chmod(0o755)
    return folder


def test_with_a_gpu_and_the_right_nvcc_mmcv_is_compiled_for_that_gpu(machine, monkeypatch, tmp_path):
    machine.facts = ON_GPU
    monkeypatch.setenv('CUDA_HOME', str(toolkit(tmp_path / 'cuda', '13.0')))
    machine()
    step = next(step for step in machine.ran if 'onedl-mmcv==' in step.says)
    assert 'damamba-torch-2.11.0+cu130-cuda-9.0' in ' '.join(step.command)
    assert step.env['CUDA_HOME'] == str(tmp_path / 'cuda')


@pytest.mark.parametrize('release', [None, '12.8'])
def test_with_a_gpu_and_no_or_another_nvcc_it_stops_before_compiling(machine, monkeypatch, tmp_path, release):
    machine.facts = ON_GPU
    home = toolkit(tmp_path / 'cuda', release) if release else tmp_path / 'nothing'
    monkeypatch.setenv('CUDA_HOME', str(home))
    with pytest.raises(SystemExit, match='run `sudo apt-get install cuda-toolkit-13-0`'):
        machine()
    assert machine.ran[-1].says.startswith('torch==2.11.0')


def test_on_a_machine_without_a_gpu_nvcc_is_not_asked(machine, monkeypatch):
    monkeypatch.setattr(install, 'find_cuda', lambda *_: pytest.fail('nvcc was asked'))
    assert machine()[-1] == 'the last check'


def test_what_was_made_without_a_gpu_is_made_anew_where_there_is_one(machine, monkeypatch, tmp_path):
    machine()
    machine.facts = Facts('2.11.0+cu130', '13.0', ('9.0',), '2.3.6', 'cpu')
    monkeypatch.setenv('CUDA_HOME', str(toolkit(tmp_path / 'cuda', '13.0')))
    assert any('compiled for torch-2.11.0+cu130-cuda-9.0' in text for text in machine())
    machine.facts = ON_CPU
    assert machine() == []


@pytest.mark.parametrize(
    ('facts', 'built', 'fits'),
    [
        (Facts('2.11.0+cpu', None, (), '2.3.6', 'cpu'), 'torch-2.11.0+cpu-cpu', True),
        (Facts('2.11.0+cpu', None, (), '2.3.6', 'cpu'), 'torch-2.10.0+cpu-cpu', False),
        (Facts('2.11.0+cpu', None, (), '2.3.5', 'cpu'), 'torch-2.11.0+cpu-cpu', False),
        (Facts('2.11.0+cpu', None, (), '2.3.6', None), 'torch-2.11.0+cpu-cpu', False),
        (Facts('2.11.0+cpu', None, (), '2.3.6', 'cpu'), None, True),
        (Facts('2.11.0+cu130', '13.0', (), '2.3.6', 'cuda'), 'torch-2.11.0+cu130-cuda-9.0', True),
        (Facts('2.11.0+cu130', '13.0', ('9.0',), '2.3.6', 'cuda'), 'torch-2.11.0+cu130-cuda-9.0', True),
        (Facts('2.11.0+cu130', '13.0', ('9.0',), '2.3.6', 'cuda'), 'torch-2.11.0+cu130-cuda-8.0', False),
        (Facts('2.11.0+cu130', '13.0', ('9.0',), '2.3.6', 'cpu'), None, False),
    ],
)
def test_a_compiled_mmcv_stays_only_where_it_fits(facts, built, fits):
    assert install.mmcv_fits(facts, PINS, built, install.build_key(facts, {})) is fits


def test_the_key_of_a_compiled_mmcv_names_the_architectures_that_were_asked_for():
    assert install.build_key(ON_GPU, {'TORCH_CUDA_ARCH_LIST': '8.0;9.0'}) == 'torch-2.11.0+cu130-cuda-8.0_9.0'
    assert install.build_key(ON_CPU, {'FORCE_CUDA': '1'}) == 'torch-2.11.0+cu130-cuda-all'


@pytest.fixture
def ready(tmp_path):
    venv = tmp_path / 'venv'
    fill(venv)
    write_notes(venv, {'index': '', 'done': {'fingerprint': fingerprint(), 'gpu': False}})
    return venv


def test_a_finished_environment_is_ready(ready):
    assert is_ready(ready, PINS, '', gpu=False)
    assert not is_ready(ready, PINS, CPU_INDEX, gpu=False)
    assert not is_ready(ready, PINS, '', gpu=True)


def test_an_environment_is_not_ready_once_what_it_follows_from_has_changed(ready, monkeypatch):
    monkeypatch.setattr(environment, 'fingerprint', lambda: 'another')
    assert not is_ready(ready, PINS, '', gpu=False)


def test_the_build_suffix_of_torch_does_not_count_as_another_version(ready):
    site = next(ready.glob('lib/*/site-packages'))
    (site / 'torch-2.11.0.dist-info').rename(site / 'torch-2.11.0+cpu.dist-info')
    assert is_intact(ready, PINS)


def test_an_environment_with_two_opencvs_another_version_or_no_operators_is_not_intact(ready):
    site = next(ready.glob('lib/*/site-packages'))
    assert is_intact(ready, PINS)
    (site / 'opencv_python-4.12.0.88.dist-info').mkdir()
    assert not is_intact(ready, PINS)
    (site / 'opencv_python-4.12.0.88.dist-info').rmdir()
    (site / 'timm-1.0.31.dist-info').rename(site / 'timm-1.0.30.dist-info')
    assert not is_intact(ready, PINS)
    (site / 'timm-1.0.30.dist-info').rename(site / 'timm-1.0.31.dist-info')
    next(site.glob('mmcv/_ext.*')).unlink()
    assert not is_intact(ready, PINS)


def test_a_command_that_fails_shows_its_output_and_ends_in_the_advice(tmp_path, capsys):
    step = install.Step('pip', [sys.executable, '-c', 'print("no space left"); exit(3)'], 'Make room.')
    with pytest.raises(SystemExit, match='Make room'):
        install.run_step(step, tmp_path)
    assert 'no space left' in capsys.readouterr().out


def test_a_command_finds_the_programs_of_the_environment(tmp_path):
    code = f'import os; exit(not os.environ["PATH"].startswith({str(tmp_path / "bin")!r}))'
    install.run_step(install.Step('ninja', [sys.executable, '-c', code], 'never'), tmp_path)


def test_a_long_command_says_every_so_often_how_far_it_is(tmp_path, capsys):
    (tmp_path / 'log').write_text('[1/78] first\n[12/78] c++ -O3\n')

    class Process:
        waits = 0

        def wait(self, timeout):
            self.waits += 1
            if self.waits == 1:
                raise install.subprocess.TimeoutExpired('c++', timeout)
            return 0

    assert install.wait_for(Process(), tmp_path / 'log') == 0
    assert capsys.readouterr().out == '  ... [12/78] c++ -O3\n'


def test_a_torch_that_does_not_import_ends_in_one_sentence(tmp_path):
    python = tmp_path / 'bin' / 'python'
    python.parent.mkdir()
    python.write_text('#!/bin/sh\necho "ImportError: libcudart.so.13: cannot open" >&2\nexit 1\n')
    python.chmod(0o755)
    with pytest.raises(SystemExit, match=r'torch does not work in .* \(ImportError: libcudart.so.13.*`rm -rf '):
        environment.ask_facts(tmp_path)


def test_an_environment_whose_python_does_not_run_counts_as_none(tmp_path):
    python = tmp_path / 'bin' / 'python'
    assert environment.venv_python(tmp_path) is None
    python.parent.mkdir()
    python.write_text('#!/bin/sh\nexit 1\n')
    python.chmod(0o755)
    assert environment.venv_python(tmp_path) is None


def test_notes_are_read_as_they_were_written(tmp_path):
    assert read_notes(tmp_path) == {}
    write_notes(tmp_path, {'index': CPU_INDEX, 'done': None})
    assert read_notes(tmp_path) == {'index': CPU_INDEX, 'done': None}
    assert [path.name for path in tmp_path.iterdir()] == [environment.NOTES]
    assert json.loads((tmp_path / environment.NOTES).read_text())['done'] is None
