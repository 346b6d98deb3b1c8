"""Joining a group of processes where there is no GPU, and refusing more processes than GPUs where there are some."""

import ctypes
import gc
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from damamba.engine.config_checks import ConfigError

PR_SET_PDEATHSIG = 1  # of Linux's prctl
STARTED = 'DAMAMBA_STARTED'  # when the scripts were started, in seconds since 1970

# What launchers other than torchrun call RANK, WORLD_SIZE and LOCAL_RANK, and what sets it.
LAUNCHERS = {
    'slurm': ('srun', ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID')),
    'mpi': ('mpirun', ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK')),
}


def join(launcher: str, timeout_s: float | None = None) -> None:
    """Join over gloo on a machine without GPUs. With GPUs MMEngine joins over nccl, once there is one for each process.

    Raises:
        ConfigError: more processes than GPUs were started on this machine, or their launcher is not to be found.
    """
    if launcher == 'none' or dist.is_initialized():
        return
    if launcher in LAUNCHERS:
        _adopt(launcher)
    if 'TORCHELASTIC_RUN_ID' in os.environ:
        _end_with_parent()
    if 'RANK' not in os.environ:
        raise ConfigError(f'--launcher {launcher} was given, but not started by it: use dist_train.sh or dist_test.sh')
    if torch.cuda.is_available():
        _check_gpus(int(os.environ.get('LOCAL_RANK', 0)))
        return
    _share_cores()
    timeout = {'timeout': timedelta(seconds=timeout_s)} if timeout_s else {}
    dist.init_process_group('gloo', **timeout)


def rank_of(launcher: str) -> int:
    """Which process this is, also before the group is joined."""
    source = LAUNCHERS[launcher][1][0] if launcher in LAUNCHERS else 'RANK'
    return int(os.environ.get(source, 0)) if launcher != 'none' else 0


def processes_of(launcher: str) -> int:
    """How many processes were started, also before the group is joined."""
    source = LAUNCHERS[launcher][1][1] if launcher in LAUNCHERS else 'WORLD_SIZE'
    return int(os.environ.get(source, 1)) if launcher != 'none' else 1


def restarts() -> int:
    """How often torchrun has started this training again, after a process had died, or Slurm, with the whole job."""
    return max(int(os.environ.get(name) or 0) for name in ('TORCHELASTIC_RESTART_COUNT', 'SLURM_RESTART_COUNT'))


def resumes_by_itself(folder: Path) -> bool:
    """Whether this training was started again, and has left a checkpoint there; one of an older training is none."""
    newest = folder / 'last_checkpoint'
    return bool(restarts()) and newest.is_file() and newest.stat().st_mtime >= float(os.environ.get(STARTED, 0))


def _adopt(launcher: str) -> None:
    """Say in torch's variables what the launcher says in its own."""
    program, sources = LAUNCHERS[launcher]
    for name, source in zip(('RANK', 'WORLD_SIZE', 'LOCAL_RANK'), sources, strict=True):
        if source not in os.environ:
            raise ConfigError(f'--launcher {launcher} needs {source}, which {program} sets: start this with {program}')
        os.environ[name] = os.environ[source]
    job = os.environ.get('SLURM_JOB_ID') if launcher == 'slurm' else None
    os.environ.setdefault('MASTER_PORT', str(10000 + int(job) % 20000 if job else 29500))  # jobs may share a machine
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _first_host() if launcher == 'slurm' else '127.0.0.1'


def _first_host() -> str:
    """The first machine of a Slurm job."""
    command = ['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']]
    hosts = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return hosts.split()[0]


def _check_gpus(local_rank: int) -> None:
    gpus = torch.cuda.device_count()
    if local_rank >= gpus:
        raise ConfigError(
            f'process {local_rank + 1} of this machine has no GPU: {gpus} can be seen. '
            'Start at most as many processes as GPUs, or hide them (CUDA_VISIBLE_DEVICES=) to train on the CPU'
        )


def _share_cores() -> None:
    """Give each process of this machine its share of the cores, unless the user has said how many threads to run.

    torchrun sets OMP_NUM_THREADS=1 for several processes; the scripts say whether the user had set it before.
    """
    if os.environ.get('DAMAMBA_THREADS') == 'auto' or 'OMP_NUM_THREADS' not in os.environ:
        threads = max(1, len(os.sched_getaffinity(0)) // int(os.environ.get('LOCAL_WORLD_SIZE', 1)))
        os.environ.update(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
        torch.set_num_threads(threads)


def _end_with_parent() -> None:
    """Ask for a signal when torchrun's agent is killed, which could not tell its processes (on Linux)."""
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def leave() -> None:
    """Leave the group, if one was joined, and see its threads off.

    Cycles of references keep the group alive after it is destroyed, and gloo's threads with it; a process that ends
    while they run aborts now and then, with all its work done, and torchrun calls the whole job failed.
    """
    if dist.is_initialized():
        dist.destroy_process_group()
        gc.collect()
