# `just` lists what can be done; each line also works when typed without just.

set shell := ["bash", "-euo", "pipefail", "-c"]

_list:
    @just --list

# what continuous integration runs
check:
    .ci/run

# tests on all cores; `just test tests/plan -k cells` runs some of them
test *arguments:
    OMP_NUM_THREADS=1 uv run pytest -n auto --dist worksteal {{arguments}}

# formatting and what can be mended by itself
fix:
    uv run ruff format .
    uv run ruff check --fix .

# types of the code and of the tests
types:
    uv run mypy mibench plugins/*/mibench_*
    uv run mypy --config-file tests/mypy.ini tests plugins/*/tests

# examples in docstrings and in the documentation
docs:
    uv run pytest -q tests/test_doctests.py tests/docs

# tests of the core with its coverage
coverage:
    OMP_NUM_THREADS=1 uv run pytest -n auto --dist worksteal --cov --cov-report=term:skip-covered tests

# do the tests notice changes of the code? `just mutate mibench/plan --sample 60 --seed 1`
mutate *arguments:
    uv run python scripts/mutate.py {{arguments}}

# other Pythons and the oldest dependencies
matrix *arguments:
    scripts/test_matrix.sh {{arguments}}
