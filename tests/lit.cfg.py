"""`lit tests`: the `.qir` files of this folder and those below, without pytest."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # in a bare checkout too

from qir.testing.lit_format import configure  # noqa: E402

configure(config)
