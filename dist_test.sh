#!/usr/bin/env bash
# bash dist_test.sh CONFIG CHECKPOINT PROCESSES [options of tools/test.py, such as --eval bbox segm]
# PROCESSES on this machine: GPUs where there are any, else CPU processes. Several machines: NNODES, NODE_RANK,
# MASTER_ADDR, PORT. docs/clusters.md has the others.
set -eu
if [ $# -lt 3 ]; then echo "usage: bash dist_test.sh CONFIG CHECKPOINT PROCESSES [options of tools/test.py]" >&2; exit 2; fi
here=$(cd "$(dirname "$0")" && pwd)
python=python
case ${VIRTUAL_ENV:-${CONDA_PREFIX:+${CONDA_DEFAULT_ENV:-named}}} in  # an active environment comes first
    '' | base) if [ -x "$here/.venv/bin/python" ]; then python=$here/.venv/bin/python; fi ;;
esac

PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-$python}" -m damamba.engine.torchrun \
    "$3" "$here/tools/test.py" "$1" "$2" --launcher pytorch "${@:4}"
