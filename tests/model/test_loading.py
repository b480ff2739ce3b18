"""What results depend on is fixed before anything is computed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cac.errors import CacError
from cac.model.loading import load_base
from cac.model.nano import nano_folder
from cac.params import Params

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


def test_code_that_comes_with_a_base_is_never_run_nor_asked_about(tmp_path: Path, project_params: Params) -> None:
    base = tmp_path / "base"
    shutil.copytree(nano_folder(), base)
    config = json.loads((base / "config.json").read_text())
    config |= {"model_type": "strange", "auto_map": {"AutoConfig": "strange.Strange"}}
    (base / "config.json").write_text(json.dumps(config))
    (base / "strange.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(CacError, match="cannot be loaded"):
        load_base(project_params.model.model_copy(update={"base": str(base)}))
    assert not (tmp_path / "ran").exists()


def test_weights_cut_short_are_a_clear_error(tmp_path: Path, project_params: Params) -> None:
    base = tmp_path / "base"
    shutil.copytree(nano_folder(), base)
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(CacError, match="cannot be loaded"):
        load_base(project_params.model.model_copy(update={"base": str(base)}))
