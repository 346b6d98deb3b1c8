#!/usr/bin/env bash
# [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=...] bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG \
#     CHECKPOINT [options of tools/test.py]
set -eu
if [ $# -lt 4 ]; then echo "usage: bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options]" >&2; exit 2; fi
tools=$(cd "$(dirname "$0")" && pwd)
gpus=${GPUS:-8}
node=${GPUS_PER_NODE:-8}
if [ "$gpus" -lt "$node" ]; then node=$gpus; fi
read -ra more <<< "${SRUN_ARGS:-}"
PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}" exec srun -p "$1" --job-name="$2" --gres="gpu:$node" \
    --ntasks="$gpus" --ntasks-per-node="$node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 "${more[@]}" \
    "${PYTHON:-python}" -u "$tools/test.py" "$3" "$4" --launcher slurm "${@:5}"
