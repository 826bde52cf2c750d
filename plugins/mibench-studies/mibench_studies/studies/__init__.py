"""One module for each study. They need the extra ``analysis`` of this distribution."""

from __future__ import annotations

from importlib.util import find_spec

if missing := [name for name in ("matplotlib", "pandas", "scipy", "statsmodels") if find_spec(name) is None]:
    raise ImportError(f'studies need {", ".join(missing)}: pip install "mibench-studies[analysis]"')
