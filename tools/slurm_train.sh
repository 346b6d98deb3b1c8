#!/usr/bin/env bash
# [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=...] bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG \
#     WORK_DIR [options of tools/train.py]
# srun starts it and waits; SBATCH=1 queues it, and it goes on by itself after it was preempted (docs/clusters.md).
set -eu
if [ $# -lt 4 ]; then echo "usage: bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [options]" >&2; exit 2; fi
tools=$(cd "$(dirname "$0")" && pwd)
gpus=${GPUS:-8}
node=${GPUS_PER_NODE:-8}
if [ "$gpus" -lt "$node" ]; then node=$gpus; fi
export PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}" DAMAMBA_STARTED="${DAMAMBA_STARTED:-$(date +%s)}"
place=(-p "$1" --job-name="$2" --gres="gpu:$node" --ntasks="$gpus" --ntasks-per-node="$node" \
    --cpus-per-task="${CPUS_PER_TASK:-5}")
read -ra more <<< "${SRUN_ARGS:-}"
training=("${PYTHON:-python}" -u "$tools/train.py" "$3" --work-dir "$4" --launcher slurm "${@:5}")
if [ -z "${SBATCH:-}" ]; then exec srun "${place[@]}" --kill-on-bad-exit=1 "${more[@]}" "${training[@]}"; fi
exec sbatch "${place[@]}" --requeue --open-mode=append --signal=B:USR1@"${WARNING:-120}" "${more[@]}" \
    "$tools/slurm_job.sh" "${training[@]}"
