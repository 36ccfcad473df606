#!/usr/bin/env sh
# Creates .venv from the tested pins. Uses uv when it is there and brings it in when it is not;
# MARTLET_PIP=1 keeps to Python's own pip.
set -eu
cd "$(dirname "$0")/.."

suitable() { "$1" -c 'import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }
for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do suitable "$python" && break || python=; done
[ -n "$python" ] || { echo "martlet: needs Python 3.11 to 3.13; name one with PYTHON=/path/to/python make setup" >&2; exit 2; }

[ -x .venv/bin/python ] && suitable .venv/bin/python || "$python" -m venv --clear .venv
echo "martlet: installing the tested versions into .venv (a few minutes the first time)"
pip=".venv/bin/python -m pip --disable-pip-version-check"

if [ -z "${MARTLET_PIP:-}" ] && { command -v uv >/dev/null || $pip install --quiet uv -c constraints.txt; }; then
    uv=$(command -v uv || echo .venv/bin/uv)
    # uv does not read pip's settings; a folder of wheels named there holds for it too.
    links=$($pip config get global.find-links 2>/dev/null || $pip config get :env:.find-links 2>/dev/null || true)
    [ -z "$links" ] || export UV_FIND_LINKS="${UV_FIND_LINKS:-$links}"
    install="$uv pip install --python .venv/bin/python"
    # Without a GPU the CPU build of torch is a tenth of the size. Where its index cannot be reached, the ordinary one does.
    if ! command -v nvidia-smi >/dev/null && [ -z "${UV_FIND_LINKS:-}" ]; then
        UV_HTTP_TIMEOUT=15 UV_HTTP_RETRIES=0 $install --torch-backend cpu torch -c constraints.txt ||
            echo "martlet: the CPU builds of torch cannot be reached; the ordinary build takes more room"
    fi
else
    install="$pip install --progress-bar off"
fi
$install --editable '.[dev]' --constraint constraints.txt
# Bytecode of what commands import, once: where PYTHONDONTWRITEBYTECODE is set, as in many images, every command would
# compile torch and transformers anew.
echo "martlet: compiling what commands import (about a minute)"
env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -c '
import components, datasets, dvc.cli, dvc.commands.repro, evalscope.run, fastapi, matplotlib.figure, mlflow, peft, polars, prefect
import prefect.flow_runs, prefect.server.api.server, pyarrow.parquet, transformers.trainer
import transformers.models.auto.modeling_auto, transformers.models.qwen3.modeling_qwen3' >/dev/null 2>&1 || true
touch .venv/.ready
echo "martlet: ready; 'source .venv/bin/activate' makes martlet and dvc commands"
