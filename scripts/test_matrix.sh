#!/usr/bin/env bash
# Run the tests on other Pythons and on the oldest dependencies that pyproject.toml allows, each in an environment of its
# own. Needs uv, and a network for packages and interpreters that are not there.
#
# Usage: scripts/test_matrix.sh [--quick] [ROW...]
#   rows: 3.11 3.12 3.13   the newest versions of everything; 6 GB each
#         oldest           the oldest versions that are allowed
#         oldest-light     the same for the rooms that never import torch: half a minute, part of continuous integration
#   All rows by default. --quick leaves out the tests of plugins, stages, sessions and the command line.
#   MIBENCH_MATRIX=FOLDER keeps the environments there for the next time.
set -euo pipefail
cd "$(dirname "$0")/.."
quick=
[ "${1:-}" != --quick ] || { quick=1; shift; }
rows=("$@")
[ ${#rows[@]} -gt 0 ] || rows=(3.11 3.12 3.13 oldest oldest-light)
folder=${MIBENCH_MATRIX:-$(mktemp -d)}
[ -n "${MIBENCH_MATRIX:-}" ] || trap 'rm -rf "$folder"' EXIT
light=(tests/base tests/exchange tests/leaderboard tests/protocol tests/report tests/results tests/site tests/store)
quicker=("${light[@]}" tests/api tests/plan tests/registry tests/testing)

# The constraints of pyproject.toml pin the versions of published numbers. --no-config leaves them out.
get() { uv pip install --quiet --no-config "$@"; }

install() { # ROW: an environment with what the row is about
  local row=$1 python=$1 plugin packages=()
  [[ $row != oldest* ]] || python=3.11
  export VIRTUAL_ENV=$folder/$row
  [ -d "$VIRTUAL_ENV" ] || uv venv --quiet --python "$python" "$VIRTUAL_ENV" || return
  packages=(-e .)
  for plugin in plugins/*; do
    case $plugin in # tests of studies and of sample-quality ask for these
      */mibench-studies) plugin+='[analysis]' ;;
      */mibench-metrics) plugin+='[quality]' ;;
    esac
    packages+=(-e "$plugin")
  done
  case $row in
    oldest-light) # what the core depends on, without what only computing needs
      uv pip compile --quiet --no-config --no-deps --no-header --no-annotate --resolution lowest-direct --python "$VIRTUAL_ENV/bin/python" pyproject.toml |
        grep -vE '^(torch|torchvision|kornia)==' >"$VIRTUAL_ENV/wanted.txt" || return
      get --requirement "$VIRTUAL_ENV/wanted.txt" || return ;;
    oldest) get --resolution lowest-direct "${packages[@]}" || return ;;
    *) get "${packages[@]}" || return ;;
  esac
  get fastjsonschema hypothesis packaging pytest pytest-xdist # test tools are not part of what is promised
}

check() { # ROW
  local row=$1 python=$folder/$1/bin/python what=()
  [ -z "$quick" ] || what=("${quicker[@]}")
  [ "$row" != oldest-light ] || what=("${light[@]}" --deselect tests/protocol/test_some_classes.py) # it asks for plugins
  "$python" -c 'import sys, numpy, pydantic; print(f"Python {sys.version.split()[0]}, numpy {numpy.__version__}, pydantic {pydantic.VERSION}")'
  # Warnings of versions that nobody chose are shown, not fatal.
  MIBENCH_STORE=$folder/store OMP_NUM_THREADS=1 "$python" -m pytest -q -W default -n auto --dist worksteal "${what[@]}"
}

failed=()
for row in "${rows[@]}"; do
  echo "== $row"
  { install "$row" && check "$row"; } || failed+=("$row")
done
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
echo "passed: ${rows[*]}"
