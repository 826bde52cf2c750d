"""Let all tests import the shared builders that lie in this folder, e.g. ``from record_factory import make_record``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
