"""What the tests share: XLA set up as for users, small real data, and a small task."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jsweep

jsweep.configure(cache=False)  # before the backend starts

import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits


@pytest.fixture(scope="session")
def digits():
    """400 handwritten digits: x float32 (400, 64) in [0, 1], y int32 (400,)."""
    x, y = load_digits(return_X_y=True)
    return (x[:400] / 16).astype(np.float32), y[:400].astype(np.int32)


@pytest.fixture(scope="session")
def data(digits):
    """The digits, split 240, 80, 80."""
    return jsweep.split(*digits, validation=0.2, test=0.2, key=jax.random.key(0))
