"""The oracle of exact values lies with the tests of values."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "values"))
