"""Lineage: inputs that change during a stage, a checkout that has moved on, and hashes that are DVC's own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cac.errors import CacError
from cac.params import load_params
from cac.paths import CHECKPOINTS
from cac.tracking.dvc_files import md5_of, read_locked_stages, stage_inputs
from cac.tracking.lineage import check_lineage, guard_inputs, outputs_from_tags, stage_tags
from cac.tracking.mlflow_runs import connect, stage_run
from cac.tracking.run_state import read_run_state

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
STAGE, MADE = "two_turn_grpo", "models/two_turn_grpo"
DVC_YAML = {
    "stages": {
        STAGE: {
            "cmd": f"mkdir -p {MADE}/sub && cp code.py {MADE}/sub && touch {MADE}/a",
            "deps": ["data", "code.py"],
            "params": ["frames", "two_turn_grpo.reward_weights"],
            "outs": ["models/two_turn_grpo"],
        }
    }
}


@pytest.fixture(scope="module")
def repro(tmp_path_factory) -> Path:
    """A project of one stage that DVC has run."""
    root = tmp_path_factory.mktemp("repro") / "project"
    (root / "data" / "clips").mkdir(parents=True)
    (root / "data" / "annotations.jsonl").write_text("{}\n")
    (root / "data" / "clips" / "ä b.mp4").write_bytes(b"\x00\xff")
    (root / "data" / "clips.txt").write_text("beside the folder, and before it in some orders")
    (root / "code.py").write_text("one\r\ntwo\n")
    (root / "dvc.yaml").write_text(yaml.safe_dump(DVC_YAML))
    shutil.copy(REPOSITORY / "params.yaml", root)
    (root / "data.dvc").write_text(f"outs:\n- md5: {md5_of(root / 'data')}\n  hash: md5\n  path: data\n")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    subprocess.run((sys.executable, "-m", "dvc", "repro", "--quiet"), cwd=root, check=True, env=environment)
    return root


@pytest.fixture
def done(repro, tmp_path) -> Path:
    return shutil.copytree(repro, tmp_path / "done")


def lineage(root):
    params = load_params(root / "params.yaml")
    return check_lineage(root, params, read_run_state(root, params))


def test_hashes_and_settings_are_dvcs_own(repro):
    locked = read_locked_stages(repro)[STAGE]
    assert stage_inputs(repro, STAGE) == locked.inputs
    assert set(locked.inputs) == {"data", "code.py", "params.yaml:frames", "params.yaml:two_turn_grpo.reward_weights"}
    assert {path: md5_of(repro / path) for path in locked.outputs} == locked.outputs
    assert outputs_from_tags(stage_tags(lineage(repro))) == {STAGE: locked.outputs}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("code.py", "edited"),
        ("data/annotations.jsonl", "edited"),
        ("data/clips/new.mp4", "added"),
        ("models/two_turn_grpo/a", "another result"),
    ],
)
def test_a_checkout_that_has_moved_on_gives_no_lineage(done, path, text):
    (done / path).unlink(missing_ok=True)
    (done / path).write_text(text)
    with pytest.raises(CacError, match=f"{Path(path).parts[0]}.*not what .*dvc.lock records for two_turn_grpo"):
        lineage(done)


def test_other_settings_and_other_data_give_no_lineage(done):
    params = load_params(done / "params.yaml")
    other = params.model_copy(update={"frames": params.frames.model_copy(update={"looks": 1})})
    with pytest.raises(CacError, match=r"the settings given are not those of .*params\.yaml"):
        check_lineage(done, other, read_run_state(done, other))
    pointer = done / "data.dvc"
    pointer.write_text(pointer.read_text().replace(md5_of(done / "data"), "0" * 32 + ".dir"))
    with pytest.raises(CacError, match="name different data"):
        lineage(done)
    (done / "params.yaml").write_text((done / "params.yaml").read_text().replace("looks: 2", "looks: 1"))
    with pytest.raises(CacError, match=r"params\.yaml:frames: not what"):
        lineage(done)


def test_a_project_without_dvc_has_no_stages_to_check(tmp_path, params):
    assert check_lineage(tmp_path, params, read_run_state(tmp_path, params)) == {}


@pytest.mark.parametrize("path", ["code.py", "data/annotations.jsonl", "params.yaml", "requirements.lock"])
def test_an_input_that_changes_during_a_stage_is_an_error_and_its_checkpoints_go(done, path):
    (done / "requirements.lock").write_text("numpy==1\n")
    kept, other = done / CHECKPOINTS / STAGE / "checkpoint-1", done / CHECKPOINTS / "single_frame_sft"
    kept.mkdir(parents=True)
    other.mkdir()
    with guard_inputs(done, STAGE):
        pass
    assert kept.is_dir()
    with pytest.raises(CacError, match="changed while two_turn_grpo ran"), guard_inputs(done, STAGE):
        write_anew(done / path)
    assert not kept.exists()
    assert other.is_dir()


def write_anew(path):
    """Change a file; first away with it, for it may be a link into DVC's cache."""
    text = path.read_text().replace("looks: 2", "looks: 1") if path.name == "params.yaml" else "changed"
    path.unlink()
    path.write_text(text)


def interrupt_after(change):
    change()
    raise KeyboardInterrupt


def test_what_a_stage_does_not_read_may_change_and_its_own_error_comes_through(done):
    with guard_inputs(done, STAGE):
        (done / "notes.md").write_text("a thought")
        (done / "params.yaml").write_text(
            (done / "params.yaml").read_text().replace("min_specificity: 0.5", "min_specificity: 0.6")
        )
    with pytest.raises(KeyboardInterrupt), guard_inputs(done, STAGE):
        interrupt_after(lambda: write_anew(done / "code.py"))


def test_a_training_run_notes_its_inputs_and_fails_if_they_change(project, repro, params):
    shutil.copytree(repro, project, dirs_exist_ok=True)
    with pytest.raises(CacError, match=r"code\.py changed"), stage_run(STAGE, params) as run:
        (project / "code.py").write_text("changed")
    record = connect().get_run(run.run_id)
    assert record.info.status == "FAILED"
    noted = connect().download_artifacts(run.run_id, "inputs.json")
    assert read_locked_stages(project)[STAGE].inputs.items() <= yaml.safe_load(Path(noted).read_text()).items()
