#!/usr/bin/env bash
# Does the package work with the oldest versions that pyproject.toml admits? Installs them and runs the tests.
#
#   benchmarks/lowest.sh [FOLDER] [PYTEST OPTIONS...]      FOLDER: for the virtual environment, default /tmp/lowest
#
# Only direct requirements are old; what they ask for in turn is new. PyTorch is the newest admitted, since old builds are
# large and rarely offered for new Pythons. Old packages warn that parts of newer ones will go; these warnings do not count.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-/tmp/lowest}
python3 -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet uv "torch>=2.6,<2.14"
"$venv/bin/python" - > "$venv/requirements.txt" << 'END'
import tomllib

project = tomllib.load(open("pyproject.toml", "rb"))["project"]
extras = project["optional-dependencies"]
tools = ("torch", "contractile", "mypy", "pre-commit", "ruff")
print(*[line for line in [*project["dependencies"], *extras["openvino"], *extras["dev"]] if not line.startswith(tools)], sep="\n")
END
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --resolution lowest-direct -r "$venv/requirements.txt"
"$venv/bin/python" -m pip install --quiet --no-deps --editable .
"$venv/bin/python" -m pytest -W ignore::DeprecationWarning "${@:2}"
