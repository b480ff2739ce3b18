"""What a version's tags say it was made from, when that cannot be made again, and how a difference is found."""

import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.tiny_versions import Tiny, make_version

from cac.errors import CacError
from cac.registry.reproduction import MISSING, RecordedLineage, read_recorded_lineage
from cac.registry.versions import INCOMPLETE
from cac.tracking.dvc_files import LockedStage
from cac.tracking.lineage import stage_tags
from cac.tracking.mlflow_runs import connect

REPOSITORY = Path(__file__).parents[2]
OUTPUTS = {"train": {"models/a": "1" * 32, "metrics/a.json": "2" * 32}, "evaluate": {"evaluation": "3" * 32}}


@pytest.fixture
def repository(project) -> tuple[Path, str]:
    """A git repository with the settings, and its commit."""
    shutil.copy(REPOSITORY / "params.yaml", project)
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    for arguments in (("init", "--quiet"), ("add", "params.yaml"), (*identity, "commit", "--quiet", "-m", "one")):
        subprocess.run(("git", "-C", str(project), *arguments), check=True, capture_output=True)
    head = subprocess.run(("git", "-C", str(project), "rev-parse", "HEAD"), check=True, capture_output=True, text=True)
    return project, head.stdout.strip()


@pytest.fixture
def version(params, repository):
    """Return what makes a version with a whole lineage but for the tags given; None takes a tag away."""
    stages = {name: LockedStage({}, outputs) for name, outputs in OUTPUTS.items()}
    whole = {"git_commit": repository[1], "git_dirty": "false", **stage_tags(stages)}

    def make(**changes):
        number = make_version(Tiny(), params.registry.model_name, params.registry.experiment)
        for key, value in {**whole, **changes}.items():
            if value is not None:
                connect().set_model_version_tag(params.registry.model_name, number, key, value)
        return number

    return make


def test_a_version_is_read_by_number_and_by_alias(params, version, repository):
    number = version()
    connect().set_registered_model_alias(params.registry.model_name, "champion", number)
    recorded = read_recorded_lineage(repository[0], number)
    assert recorded == read_recorded_lineage(repository[0], "champion")
    assert (recorded.version, recorded.commit, recorded.outputs) == (number, repository[1], OUTPUTS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"git_dirty": "true"}, "changes that commit .* does not hold.*cac register"),
        ({"git_dirty": None}, "does not hold"),
        ({"git_commit": None}, "names no commit"),
        ({"git_commit": "0" * 40}, "0{40}, which is not in this repository"),
        ({"git_commit": "--help"}, "not in this repository"),
        ({"dvc_outputs.train": None, "dvc_outputs.evaluate": None}, "registered without dvc.lock"),
        ({"registration": INCOMPLETE}, "not complete"),
    ],
)
def test_what_cannot_be_made_again_is_refused(version, repository, changes, message):
    number = version(**changes)
    with pytest.raises(CacError, match=message):
        read_recorded_lineage(repository[0], number)


@pytest.mark.parametrize(("name", "message"), [("99", "no version 99"), ("winner", "no alias winner; there are: none")])
def test_a_version_that_is_not_there_is_named(version, repository, name, message):
    version()
    with pytest.raises(CacError, match=message):
        read_recorded_lineage(repository[0], name)


def test_every_output_is_compared_and_the_environment_does_not_count():
    recorded = RecordedLineage("1", "c", {"data_md5": "d", "params_sha256": "p", "environment_sha256": "e"}, OUTPUTS)
    state = recorded.compare_state({"data_md5": "d", "params_sha256": "other", "environment_sha256": "other"})
    assert [(line.what, line.same, line.counts) for line in state] == [
        ("data", True, True),
        ("settings", False, True),
        ("environment", False, False),
    ]
    assert all(line.same for line in recorded.compare_outputs(OUTPUTS))
    now = {"evaluate": {"evaluation": "4" * 32}, "train": {"models/a": "1" * 32}, "new": {"x": "5" * 32}}
    lines = recorded.compare_outputs(now)
    assert [(line.stage, line.what, line.now, line.same) for line in lines] == [
        ("evaluate", "evaluation", "4" * 32, False),
        ("train", "metrics/a.json", MISSING, False),
        ("train", "models/a", "1" * 32, True),
    ]
