"""Joining a group of processes where there is no GPU, and refusing more processes than GPUs where there are some."""

import gc
import os
import subprocess
from datetime import timedelta

import torch
import torch.distributed as dist

from damamba.engine.config import ConfigError

SLURM = {'RANK': 'SLURM_PROCID', 'WORLD_SIZE': 'SLURM_NTASKS', 'LOCAL_RANK': 'SLURM_LOCALID'}


def join(launcher: str, timeout_s: float | None = None) -> None:
    """Join over gloo on a machine without GPUs. With GPUs MMEngine joins over nccl, once there is one for each process.

    Raises:
        ConfigError: more processes than GPUs were started on this machine, or their launcher is not to be found.
    """
    if launcher == 'none' or dist.is_initialized():
        return
    if launcher == 'slurm':
        _adopt_slurm()
    if launcher != 'mpi' and 'RANK' not in os.environ:
        raise ConfigError(f'--launcher {launcher} was given, but not started by it: use dist_train.sh or dist_test.sh')
    if torch.cuda.is_available():
        _check_gpus(int(os.environ.get('LOCAL_RANK', 0)))
        return
    _share_cores()
    timeout = {'timeout': timedelta(seconds=timeout_s)} if timeout_s else {}
    dist.init_process_group('gloo', **timeout)


def _adopt_slurm() -> None:
    """Say in torch's variables what Slurm says in its own."""
    for name, source in SLURM.items():
        if source not in os.environ:
            raise ConfigError(f'--launcher slurm needs {source}, which srun sets: start this with srun')
        os.environ[name] = os.environ[source]
    os.environ.setdefault('MASTER_PORT', '29500')
    if 'MASTER_ADDR' not in os.environ:
        command = ['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']]
        os.environ['MASTER_ADDR'] = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[
            0
        ]


def _check_gpus(local_rank: int) -> None:
    gpus = torch.cuda.device_count()
    if local_rank >= gpus:
        raise ConfigError(
            f'process {local_rank + 1} of this machine has no GPU: {gpus} can be seen. '
            'Start at most as many processes as GPUs, or hide them (CUDA_VISIBLE_DEVICES=) to train on the CPU'
        )


def _share_cores() -> None:
    """Give each process of this machine its share of the cores, unless the user has said how many threads to run.

    torchrun gives each of several processes one thread, and MMEngine sets as little where nothing is set.
    """
    processes = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    if os.environ.get('OMP_NUM_THREADS', '1') == '1' and (processes > 1 or 'OMP_NUM_THREADS' not in os.environ):
        threads = max(1, len(os.sched_getaffinity(0)) // processes)
        os.environ.update(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
        torch.set_num_threads(threads)


def leave() -> None:
    """Leave the group, if one was joined, and see its threads off.

    Cycles of references keep the group alive after it is destroyed, and gloo's threads with it; a process that ends
    while they run aborts now and then, with all its work done, and torchrun calls the whole job failed.
    """
    if dist.is_initialized():
        dist.destroy_process_group()
        gc.collect()
