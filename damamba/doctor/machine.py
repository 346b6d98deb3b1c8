"""The machine: processors, memory, GPUs, threads, disks."""

import os
import platform
import re
import shutil
import tempfile
from pathlib import Path

from damamba.doctor import GIB, PIP, Look, Problem

DRIVER = Path('/proc/driver/nvidia/version')
CPUS = Path('/proc/cpuinfo')
CGROUP = Path('/sys/fs/cgroup')
SHARED = Path('/dev/shm')
PASSIVE = 'export GOMP_SPINCOUNT=10000'  # a wait of microseconds, where OMP_WAIT_POLICY=PASSIVE has none at all


# Processors and GPUs.


def look_at_devices() -> Look:
    """The processor, the memory, each GPU that torch sees; a driver without such a GPU is a problem."""
    import torch

    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    rows = {'cpu': f'{_cpu_model()}, {os.cpu_count()} cores', 'memory': f'{memory / GIB:.1f} GiB'}
    driver = _driver()
    for place in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(place)
        rows[f'gpu {place}'] = (
            f'{gpu.name}, {gpu.total_memory / GIB:.1f} GiB, compute capability {gpu.major}.{gpu.minor}'
        )
    built = torch.version.cuda or torch.version.hip
    rows['gpu driver'] = f'{driver or "-"}; torch is built for {f"CUDA {built}" if built else "the CPU alone"}'
    hidden = os.environ.get('CUDA_VISIBLE_DEVICES') in ('', '-1')
    if not driver or hidden or torch.cuda.is_available():
        return Look(rows, [])
    what = f'there is an NVIDIA driver ({driver}), and torch {torch.__version__} can use no GPU with it'
    index = 'https://download.pytorch.org/whl/cu126'
    return Look(rows, [Problem(what, f'{PIP} install --force-reinstall --index-url {index} torch torchvision', False)])


def _cpu_model() -> str:
    found = re.search(r'model name\s*:\s*(.+)', CPUS.read_text(encoding='utf-8')) if CPUS.exists() else None
    return found.group(1) if found else platform.machine()


def _driver() -> str | None:
    """The version of NVIDIA's driver."""
    found = re.search(r'\d+\.\d+(\.\d+)?', DRIVER.read_text(encoding='utf-8')) if DRIVER.exists() else None
    return found.group() if found else None


# Threads.


def look_at_threads() -> Look:
    """How many threads torch runs, on how many cores, and what they do while they wait for each other."""
    import torch

    threads, cores, quota, load = torch.get_num_threads(), len(os.sched_getaffinity(0)), _quota(), os.getloadavg()[0]
    usable = min(cores, max(1, round(quota or cores)))
    policy, spins = os.environ.get('OMP_WAIT_POLICY'), os.environ.get('GOMP_SPINCOUNT')
    waits = (policy or '').upper() == 'PASSIVE' or spins is not None
    rows = {
        'threads': f'{threads} (OMP_NUM_THREADS is {os.environ.get("OMP_NUM_THREADS", "not set")})',
        'cores': f'{cores} of {os.cpu_count()}, by taskset or cpuset; cgroup: {f"{quota:g}" if quota else "no limit"}',
        'waiting': f'OMP_WAIT_POLICY is {policy or "not set"}, GOMP_SPINCOUNT is {spins or "not set"}: '
        + ('threads that wait soon sleep' if waits else 'threads that wait spin, and hold their cores'),
        'load': f'{load:.1f} on {cores} cores',
    }
    problems = []
    if threads > usable:
        what = f'torch runs {threads} threads on {usable} cores'
        problems.append(Problem(what, f'export OMP_NUM_THREADS={usable}', False))
    if load > usable and not waits and threads > 1:
        what = f'other programs keep the cores busy (load {load:.1f} on {usable}), and threads that spin slow all down'
        problems.append(Problem(what, PASSIVE, False))
    return Look(rows, problems)


def _quota() -> float | None:
    """Cores that the container may use, by version 2 of cgroups or 1."""
    new, old = CGROUP / 'cpu.max', CGROUP / 'cpu'
    if new.exists():
        quota, period = new.read_text().split()
        return None if quota == 'max' else int(quota) / int(period)
    if (old / 'cpu.cfs_quota_us').exists():
        quota, period = (int((old / name).read_text()) for name in ('cpu.cfs_quota_us', 'cpu.cfs_period_us'))
        return quota / period if quota > 0 else None
    return None


# Disks.


def look_at_disks() -> Look:
    """How much can be written where commands write, and what is too little."""
    rows, problems = {}, []
    for name, (folder, least, why, command) in _places().items():
        there = next(it for it in (folder, *folder.parents) if it.exists())
        usage = shutil.disk_usage(there)
        free = usage.free / GIB if os.access(there, os.W_OK) else 0.0
        rows[name] = f'{free:.1f} of {usage.total / GIB:.1f} GiB free in {folder}'
        if free < least:
            what = f'{free:.1f} GiB can be written to {folder}, and {why} take {least:g} or more'
            problems.append(Problem(what, command, False))
    return Look(rows, problems)


def _places() -> dict[str, tuple[Path, float, str, str]]:
    """By name: the folder, the least that should be free in GiB, what takes it, and what goes elsewhere."""
    import torch

    work_dirs, temporary, hub = Path('work_dirs').absolute(), Path(tempfile.gettempdir()), Path(torch.hub.get_dir())
    places = {
        'current folder': (Path.cwd(), 1, 'logs and results', 'cd /a/larger/disk'),
        'work_dirs': (work_dirs, 5, 'checkpoints', 'damamba train CONFIG --work-dir /a/larger/disk'),
        'temporary files': (temporary, 1, 'compiled kernels and collected results', 'export TMPDIR=/a/larger/disk'),
        'downloads': (hub, 1, 'published weights', 'export TORCH_HOME=/a/larger/disk'),
    }
    if SHARED.exists():
        why = 'the pictures of loading processes (docker run --shm-size=8g gives more)'
        without = 'train_dataloader.num_workers=0 train_dataloader.persistent_workers=False'
        places['shared memory'] = (SHARED, 1, why, f'damamba train CONFIG --cfg-options {without}')
    return places
