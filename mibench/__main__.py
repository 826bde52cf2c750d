"""``python -m mibench`` is the command ``mibench``."""

import os
import sys

# Python puts the working folder first, where a file called like a module of the standard library would be imported
# instead of it; the command does not have it. What stays is a folder that mibench itself is read from.
_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - pathlib comes later
if not sys.flags.safe_path and sys.path and os.path.realpath(sys.path[0]) != os.path.realpath(_HOME):
    del sys.path[0]

from mibench.cli.main import main  # noqa: E402 - after the path is safe

sys.exit(main())
