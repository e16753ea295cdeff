#!/usr/bin/env bash
# Collects what a machine with a GPU and without internet lacks for `on_gpu.py`, where Python 3.12, torch and the usual scientific
# libraries are there: wheels of the pinned versions, in .whl beside this repository's files, some 20 MB.
#     bash benchmarks/gpu_wheels.sh [FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-.whl}
names="optuna SQLAlchemy alembic Mako greenlet colorlog pydantic pydantic_core annotated-types typing-inspection typing_extensions ruamel.yaml pandas"
python=python3
[ -x .venv/bin/python ] && python=.venv/bin/python
platforms=()
for tag in manylinux_2_28 manylinux_2_27 manylinux_2_26 manylinux_2_24 manylinux_2_17 manylinux2014 manylinux1; do
    platforms+=(--platform "${tag}_x86_64")
done
pins=()
for name in $names; do
    pin=$(grep -i "^$name==" constraints.txt || true)
    pins+=("${pin:-$name}")
done
rm -rf "$folder"
"$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp --abi cp312 --abi abi3 \
    --abi none "${platforms[@]}" -d "$folder" "${pins[@]}"
ls "$folder"
du -sh "$folder"
