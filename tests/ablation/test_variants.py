from pathlib import Path

import pytest
import yaml

from cac.ablation.variants import FULL, VARIANTS, variant_params
from cac.params import Params

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_changes_what_it_says_and_nothing_else(project_params: Params, name: str) -> None:
    plain, changed = variant_params(project_params, FULL, 3), variant_params(project_params, name, 3)
    for key, value in VARIANTS[name].settings.items():
        found: object = changed
        for part in key.split("."):
            found = getattr(found, part)
        assert found == value
    assert (changed == plain) is not bool(VARIANTS[name].settings)
    assert changed.compute.seed == 3
    assert VARIANTS[name].against in VARIANTS


def test_the_graph_runs_every_variant() -> None:
    graph = yaml.safe_load((ROOT / "ablations/dvc.yaml").read_text())
    assert graph["stages"]["run"]["matrix"]["variant"] == list(VARIANTS)
