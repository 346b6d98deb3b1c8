"""The list of what a GPU is needed for: every row ends within its limit, whatever happens, and says what held."""

import json
import os
import subprocess
import sys
import time

import pytest

from benchmarks import gpu
from benchmarks.gpu import Row, RowError


@pytest.fixture
def args(tmp_path):
    return gpu.parse(['--out', str(tmp_path / 'out'), '--device', 'cpu', '--commit', 'abc'])


def run(tmp_path, code, read=gpu.last_line, limit=20):
    return gpu.run_row(Row('row', limit, ['-c', code], read), tmp_path / 'log.txt')


def test_all_rows_end_within_nine_minutes(args):
    rows = gpu.make_rows(args)
    assert sum(row.limit for row in rows) < 540
    assert {row.name.split()[0] for row in rows} == {'tests', 'scenes', 'train', 'test', *gpu.BENCHMARKS}
    assert all((gpu.ROOT / path).exists() for path in gpu.TESTS)
    assert all((gpu.ROOT / str(row.command[0])).exists() for row in rows if str(row.command[0]).endswith('.py'))


def test_its_tests_are_found_on_a_machine_without_openmmlab(tmp_path):
    for name in ('mmcv', 'mmdet', 'mmengine'):
        (tmp_path / f'{name}.py').write_text(f'raise ModuleNotFoundError({name!r})')
    env = {**os.environ, 'PYTHONPATH': f'{tmp_path}:{gpu.ROOT}'}
    command = [sys.executable, '-m', 'pytest', '-q', '--collect-only', '-p', 'no:cacheprovider', *gpu.TESTS]
    done = subprocess.run(command, cwd=gpu.ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and '::test_' in done.stdout, done.stdout[-2000:]


def test_a_command_that_succeeds_is_read(tmp_path):
    held, text, _ = run(tmp_path, 'print("much"); print("=== 3 passed ===")')
    assert (held, text) == (True, '3 passed')
    assert 'much\n' in (tmp_path / 'log.txt').read_text()


def test_a_command_that_fails_shows_its_last_line(tmp_path):
    assert run(tmp_path, 'raise SystemExit("no kernel image")')[:2] == (False, 'no kernel image')
    assert run(tmp_path, 'print(" "); raise SystemExit(3)')[:2] == (False, 'it printed nothing')
    assert run(tmp_path, 'import os; os.write(1, b"\\xff"); raise SystemExit(3)')[:2] == (False, '\ufffd')


def test_one_that_does_not_end_is_stopped_with_all_that_it_started(tmp_path):
    code = (
        'import subprocess; child = subprocess.Popen(["sleep", "60"]); '
        'subprocess.Popen(["setsid", "sleep", "9"]); '  # it keeps the output open
        'print(child.pid, flush=True); child.wait()'
    )
    start = time.monotonic()
    held, text, _ = run(tmp_path, code, limit=2)
    assert (held, text) == (False, 'stopped after 2 s') and time.monotonic() - start < 8
    child = int((tmp_path / 'log.txt').read_text().split()[-1])
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and is_running(child):
        time.sleep(0.05)
    assert not is_running(child)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f'/proc/{pid}/stat') as stat:
        return stat.read().rsplit(')', 1)[1].split()[0] != 'Z'


def test_one_that_is_interrupted_leaves_nothing_running(monkeypatch, tmp_path):
    started = []

    def wait(process, timeout=None):
        if timeout:
            started.append(process.pid)
            raise KeyboardInterrupt
        return waited(process)

    waited = subprocess.Popen.wait
    monkeypatch.setattr(subprocess.Popen, 'wait', wait)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, 'import time; time.sleep(60)')
    assert started and not is_running(started[0])


def test_a_benchmark_without_a_single_figure_has_failed(monkeypatch, args):
    monkeypatch.setattr(gpu, 'RESULTS', args.out)
    monkeypatch.setattr(gpu, 'ROOT', args.out)
    args.out.mkdir()
    path = args.out / 'ops_cpu.csv'
    path.write_text('name,median_ms,note\na,,not run: no kernel\nb,,not run: no kernel\n')
    with pytest.raises(RowError, match='0 of 2 rows measured'):
        gpu.read_figures('ops', args)
    path.write_text('name,median_ms\na,1.5\nb,\n')
    assert gpu.read_figures('ops', args) == '1 of 2 rows measured, ops_cpu.csv'


def test_what_a_command_left_out_is_a_failure(tmp_path):
    held, text, _ = run(tmp_path, 'pass', lambda _: gpu.read_metrics(tmp_path))
    assert not held and text.startswith('FileNotFoundError')


@pytest.mark.parametrize(('last', 'falls'), [(3.0, True), (3.9, True), (4.1, False), (float('nan'), False)])
def test_losses_have_to_fall(tmp_path, last, falls):
    (tmp_path / '1' / 'vis_data').mkdir(parents=True)
    rows = [dict(loss=5.0)] * 10 + [dict(loss=4.0)] * 80 + [dict(loss=last)] * 10 + [{'coco/bbox_mAP': 0.1}]
    (tmp_path / '1' / 'vis_data' / 'scalars.json').write_text('\n'.join(map(json.dumps, rows)))
    if falls:
        assert gpu.read_losses(tmp_path) == f'loss 5.000 -> {last:.3f} in 100 iterations'
    else:
        with pytest.raises(RowError, match='loss 5.000 -> '):
            gpu.read_losses(tmp_path)


def test_the_rows_after_one_that_fails_run_too(monkeypatch, tmp_path, capsys):
    results = tmp_path / 'results'
    results.mkdir()
    for name, age in (('ops_cpu.csv', 0), ('old_cpu.csv', 9), ('ops_cuda.csv', 0)):
        (results / name).touch()
        when = time.time() + 5 - 10 * age
        os.utime(results / name, (when, when))
    monkeypatch.setattr(gpu, 'RESULTS', results)
    rows = [Row('first', 20, ['-c', 'raise SystemExit("broken")'], gpu.last_line)]
    rows += [Row('second', 20, ['-c', 'print("fine")'], gpu.last_line)]
    monkeypatch.setattr(gpu, 'make_rows', lambda args: rows)
    assert gpu.main(['--device', 'cpu', '--out', str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert 'FAILED  first' in shown and 'held    second' in shown and 'Not all of it held' in shown
    assert (tmp_path / 'table.txt').read_text().splitlines() == shown.splitlines()[:2]
    assert [path.name for path in tmp_path.glob('*.csv')] == ['ops_cpu.csv']  # of this call and device


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(gpu.torch.cuda, 'is_available', lambda: False)
    assert gpu.main([]) == 1
    assert 'torch sees no CUDA device here' in capsys.readouterr().err
