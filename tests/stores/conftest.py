"""Readable failures in the public suite."""

import pytest

pytest.register_assert_rewrite("tau.testing")
