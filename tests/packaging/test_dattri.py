"""Inner products of per-sample gradients against dattri-llm, in an environment apart."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from environments import make_environment

pytestmark = [pytest.mark.extra, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What `dattri_products.py` found."""
    folder = tmp_path_factory.mktemp("dattri")
    python = make_environment(folder / "venv", pinned=["dattri-llm==0.1.0"])
    support = ROOT / "tests" / "support"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(support)}
    output = subprocess.check_output(
        [python, support / "dattri_products.py"], env=environment, text=True
    )
    (line,) = (line for line in output.splitlines() if line.startswith("FOUND"))
    return json.loads(line.removeprefix("FOUND"))


def test_it_has_the_same_inner_products_by_layer(found: dict) -> None:
    assert found["version"] == "0.1.0"
    groups = ["embeddings", "layer.0", "layer.1", "other"]
    for name in ("untied", "tied"):
        assert found[name]["groups"] == found[name]["ours"] == groups
    assert max(found["untied"]["worst"].values()) < 1e-9
    assert found["untied"]["all"] < 1e-9
    assert (
        max(error for group, error in found["tied"]["worst"].items() if group != groups[0]) < 1e-9
    )


def test_it_has_the_same_first_order_of_influence(found: dict) -> None:
    assert found["untied"]["influence"] < 1e-9


def test_it_takes_the_two_uses_of_a_tied_matrix_for_two_matrices(found: dict) -> None:
    """We do not: `torch.func` and autograd give one gradient of a tied matrix."""
    assert found["tied"]["worst"]["embeddings"] > 1e-3
