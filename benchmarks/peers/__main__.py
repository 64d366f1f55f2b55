"""``python -m benchmarks.peers`` or ``python benchmarks/peers``."""

import sys
from pathlib import Path

if not __package__:  # started by its path: what counts is the checkout, where `langgraph` is not a file of ours
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmarks.peers.comparison import main

raise SystemExit(main())
