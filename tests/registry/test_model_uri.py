from pathlib import Path

import pytest

from cac.errors import CacError
from cac.params import load_params
from cac.registry.model_uri import champion_uri, default_model_uri

REPOSITORY = Path(__file__).parents[2]


def test_in_a_project_the_default_is_the_champion_of_its_model(tmp_path):
    settings = REPOSITORY / "params.yaml"
    assert default_model_uri(settings) == champion_uri(load_params(settings).registry.model_name)
    (tmp_path / "params.yaml").write_text("registry:\n  model_name: other\n")
    assert default_model_uri(tmp_path / "params.yaml") == "models:/other@champion"


@pytest.mark.parametrize("content", [None, "{}", "registry: a folder", "registry: {model_name: 3}", "train: {lr: 1}"])
def test_outside_of_a_project_the_default_is_the_champion_of_the_default_model(tmp_path, content):
    if content is not None:
        (tmp_path / "params.yaml").write_text(content)
    assert default_model_uri(tmp_path / "params.yaml") == "models:/cac-reward-model@champion"


def test_a_settings_file_that_is_not_yaml_is_an_error(tmp_path):
    (tmp_path / "params.yaml").write_text("{")
    with pytest.raises(CacError, match="not valid YAML"):
        default_model_uri(tmp_path / "params.yaml")
