import json
from pathlib import Path

import pytest
from helpers.tiny_versions import GOOD, Tiny, make_version

from cac.cli import main as cli
from cac.registry.listing import list_versions
from cac.registry.overrides import rollback
from cac.registry.promote import promote
from cac.registry.versions import INCOMPLETE
from cac.tracking.mlflow_runs import connect

COMMIT = "0123456789abcdef0123456789abcdef01234567"


PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def listed(project, params):
    """Five versions: former champion, champion, rolled back, refused, and cut off."""
    (project / "params.yaml").write_text(PARAMS.read_text())
    name = params.registry.model_name
    for tiny in (Tiny(), Tiny(), Tiny(), Tiny({"specificity": 0.1}), Tiny(registration=INCOMPLETE)):
        version = make_version(tiny, name, params.registry.experiment)
        if tiny.registration != INCOMPLETE:
            promote(params, version)
    rollback(params, "it liked melted hands")
    connect().set_model_version_tag(name, "2", "git_commit", COMMIT)
    connect().set_model_version_tag(name, "2", "git_dirty", "true")
    return project


def test_versions_stand_newest_first_with_what_became_of_them(listed, params):
    versions = list_versions(params)
    assert [one.version for one in versions] == ["5", "4", "3", "2", "1"]
    assert [one.aliases for one in versions] == [(), (), (), ("champion",), ("best", "previous")]
    assert [one.gate for one in versions] == [None, "failed", "passed", "passed", "passed"]
    assert [one.rolled_back for one in versions] == [None, None, "it liked melted hands", None, None]
    assert [one.registration for one in versions][:2] == ["incomplete", "complete"]
    assert versions[1].gate_reasons.startswith("specificity: 0.1")
    assert versions[3].metrics == GOOD
    assert (versions[3].git_commit, versions[3].data_md5) == (COMMIT, "d.dir")
    assert versions[0].git_commit == "unknown"


def test_the_table_shows_them(listed, capsys):
    assert cli.main(["registry"]) == 0
    head, *rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip(" ─")]
    assert head[:3] == ["version", "aliases", "gate"]
    assert [row[0] for row in rows] == ["5", "4", "3", "2", "1"]
    assert rows[3][1:3] == ["champion", "passed"]
    assert rows[3][-2:] == ["01234567+", "d.dir"]
    assert rows[2][2:4] == ["rolled", "back"]
    assert rows[0][2] == "incomplete"


def test_as_json_it_is_one_object_a_line(listed, capsys):
    assert cli.main(["registry", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["version"] for row in rows] == ["5", "4", "3", "2", "1"]
    assert rows[3]["aliases"] == ["champion"]
    assert rows[3]["metrics"] == GOOD


def test_an_empty_registry_is_no_mistake(project, capsys):
    (project / "params.yaml").write_text(PARAMS.read_text())
    assert cli.main(["registry", "--json"]) == 0
    assert capsys.readouterr().out == ""
    assert cli.main(["registry"]) == 0
    assert "cac register" in capsys.readouterr().out
