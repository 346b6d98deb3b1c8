#!/usr/bin/env bash
# bash dist_train.sh CONFIG PROCESSES [options of tools/train.py]
# PROCESSES on this machine: GPUs where there are any, else CPU processes. Several machines: NNODES, NODE_RANK,
# MASTER_ADDR, PORT. After a process has died: MAX_RESTARTS. docs/clusters.md has the others.
set -eu
if [ $# -lt 2 ]; then echo "usage: bash dist_train.sh CONFIG PROCESSES [options of tools/train.py]" >&2; exit 2; fi
here=$(cd "$(dirname "$0")" && pwd)
python=python
case ${VIRTUAL_ENV:-${CONDA_PREFIX:+${CONDA_DEFAULT_ENV:-named}}} in  # an active environment comes first
    '' | base) if [ -x "$here/.venv/bin/python" ]; then python=$here/.venv/bin/python; fi ;;
esac

PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-$python}" -m damamba.engine.torchrun \
    "$2" "$here/tools/train.py" "$1" --launcher pytorch "${@:3}"
