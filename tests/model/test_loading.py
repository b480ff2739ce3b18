"""What results depend on is fixed before anything is computed."""

import os
import subprocess
import sys

import pytest
import torch

PRODUCT = """
import torch
from cac.model.loading import make_deterministic
from cac.params import Compute

make_deterministic(Compute(seed=1, threads=2, accelerate=None, gradient_checkpointing=False))
torch.ones(300, 300) @ torch.ones(300, 300)
"""


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="this PyTorch multiplies matrices without MKL")
def test_mkl_multiplies_the_same_way_in_every_run() -> None:
    """MKL says of each product in which mode, and with how many threads that none may change, it was computed."""
    variables = {name: value for name, value in os.environ.items() if name != "MKL_CBWR"}
    done = subprocess.run(
        (sys.executable, "-c", PRODUCT),
        env={**variables, "MKL_VERBOSE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    products = [line for line in done.stdout.splitlines() if "GEMM" in line]
    assert products
    for line in products:
        assert "CNR:AUTO,STRICT Dyn:0" in line
        assert "NThr:2" in line
