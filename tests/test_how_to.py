"""The how-to pages do what they say."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

import jsweep as js

PAGES = Path(__file__).parent.parent / "docs" / "how-to"


def blocks_of(page):
    return re.findall(r"```python\n(.*?)```", (PAGES / page).read_text(), re.DOTALL)


def test_loops_that_fit_no_pairs_learn():
    names = {}
    for block in blocks_of("loops.md"):
        exec(block, names)
    # 9 moves reach the last cell, where each of the 22 moves that are left is rewarded.
    assert names["walker"].mean > 18
    assert names["autoencoder"].mean < 28
    assert names["solved"].mean < 0.02
    params = names["density"].params()
    np.testing.assert_allclose(params["mean"], [1, -2], atol=0.4)
    np.testing.assert_allclose(np.exp(params["log_sd"]), [0.5, 2], rtol=0.25)


@pytest.mark.filterwarnings("ignore:.*sort.*:DeprecationWarning")
def test_each_library_s_example_is_planned_as_its_page_says():
    for package in ("flax", "equinox"):
        pytest.importorskip(package)
    names, lanes = {}, {}
    for block in blocks_of("libraries.md"):
        if "import haiku" in block:
            pytest.importorskip("haiku")
        exec(block, names)
        if "space" in block:
            sweep = js.Sweep(names["task"], js.grid(names["space"]), steps=4, evaluate_every=2)
            roles = js.plan(sweep).roles
            lanes[names["task"].name] = {name for name, role in roles.items() if role.kind == "lane"}
    assert "dropout" not in lanes["digits-nnx"]
    assert lanes["sequences-linen"] >= {"learning_rate", "scale"}
    assert lanes["regression-equinox"] >= {"learning_rate", "dropout", "activation"}
    x = np.ones(20000, np.float32)
    dropped = names["dropout"](x, 0.25, jax.random.key(0))
    assert dropped.mean() == pytest.approx(1.0, abs=0.02)
    assert set(np.unique(dropped)) == {0.0, np.float32(1 / 0.75)}
