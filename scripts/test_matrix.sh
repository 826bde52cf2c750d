#!/usr/bin/env bash
# Run the tests on other Pythons and on the oldest dependencies that pyproject.toml allows, each in an environment of its
# own. Needs uv and a network for packages; several GB of disk per environment.
#
# Usage: scripts/test_matrix.sh [--quick] [ROW...]     rows: 3.11 3.12 3.13 oldest; all by default
#        --quick runs the tests of the light rooms and one run of the protocol `smoke` per row, instead of all tests.
#        MIBENCH_MATRIX=FOLDER keeps the environments there for the next time.
set -euo pipefail
cd "$(dirname "$0")/.."
quick=
[ "${1:-}" != --quick ] || { quick=1; shift; }
rows=("$@")
[ ${#rows[@]} -gt 0 ] || rows=(3.11 3.12 3.13 oldest)
folder=${MIBENCH_MATRIX:-$(mktemp -d)}
packages=(.)
for plugin in plugins/*/; do packages+=("$plugin"); done
tools=(hypothesis packaging pytest pytest-xdist)
light=(tests/api tests/results tests/protocol tests/store tests/plan tests/leaderboard)

install() { # ROW: an environment with everything in it
  local row=$1 python=$1 how=highest editable=()
  [ "$row" != oldest ] || { python=3.11 how=lowest-direct; }
  export VIRTUAL_ENV=$folder/$row
  [ -d "$VIRTUAL_ENV" ] || uv venv --quiet --python "$python" "$VIRTUAL_ENV"
  for package in "${packages[@]}"; do editable+=(-e "$package"); done
  # The constraints of pyproject.toml pin the versions of published numbers; --no-config leaves them out, and the numbers
  # of the matrix are those of the newest, or oldest, versions. Test tools are not part of what we promise.
  uv pip install --quiet --no-config --resolution "$how" "${editable[@]}"
  uv pip install --quiet --no-config "${tools[@]}"
}

check() { # ROW
  local row=$1
  local bin=$folder/$row/bin
  "$bin/python" -c 'import sys, torch, numpy, pydantic; print(*(f"{m.__name__} {m.__version__}" for m in (torch, numpy, pydantic)), sys.version.split()[0])'
  export MIBENCH_STORE; MIBENCH_STORE=$(mktemp -d)
  # Warnings of versions that nobody chose are shown, not fatal.
  if [ -n "$quick" ]; then
    OMP_NUM_THREADS=1 "$bin/python" -m pytest -q -W default -n auto --dist worksteal "${light[@]}"
    "$bin/mibench" run --protocol smoke --defense none --attack ppa --device cpu --output "$MIBENCH_STORE/output"
  else
    OMP_NUM_THREADS=1 "$bin/python" -m pytest -q -W default -n auto --dist worksteal
  fi
}

failed=()
for row in "${rows[@]}"; do
  echo "== $row"
  { install "$row" && check "$row"; } || failed+=("$row")
done
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
echo "passed: ${rows[*]}"
