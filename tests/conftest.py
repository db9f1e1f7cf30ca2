"""The tests: `.qir` files through qir's pytest plugin, found in a bare checkout too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

pytest_plugins = ["qir.pytest_plugin", "command"]
