"""``python -m mibench`` is the command ``mibench``."""

import sys

from mibench.cli.main import main

sys.exit(main())
