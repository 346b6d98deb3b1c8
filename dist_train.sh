#!/usr/bin/env bash
# bash dist_train.sh CONFIG PROCESSES [options of tools/train.py]
# PROCESSES on this machine: GPUs where there are any, else CPU processes. Several machines: NNODES, NODE_RANK,
# MASTER_ADDR, PORT.
set -eu
if [ $# -lt 2 ]; then echo "usage: bash dist_train.sh CONFIG PROCESSES [options of tools/train.py]" >&2; exit 2; fi
here=$(cd "$(dirname "$0")" && pwd)
python=python
case ${VIRTUAL_ENV:-${CONDA_PREFIX:+${CONDA_DEFAULT_ENV:-named}}} in  # an active environment comes first
    '' | base) if [ -x "$here/.venv/bin/python" ]; then python=$here/.venv/bin/python; fi ;;
esac

export DAMAMBA_THREADS=${OMP_NUM_THREADS:-auto}  # CPU processes share the cores unless the user has decided
PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-$python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    --nproc_per_node="$2" "$here/tools/train.py" "$1" --launcher pytorch "${@:3}"
