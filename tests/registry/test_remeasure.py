import shutil

import pytest
from helpers.tiny_versions import write_evaluation

from cac.errors import CacError
from cac.evaluation.evaluate import FINAL
from cac.evaluation.judging import reward_model
from cac.model.calibration import Calibration
from cac.model.loading import make_deterministic
from cac.registry.candidate import ADAPTER
from cac.registry.predictions import align_predictions, evaluation_set, predictions_tag
from cac.registry.promote import promote
from cac.registry.register import register
from cac.schema.annotations import read_clips, write_clips
from cac.tracking.mlflow_runs import connect
from cac.video.clip_store import ClipStore

FITTED = Calibration(1.5, 0.2)


@pytest.fixture
def rivals(project, on_base, checkpoint, small_dataset):
    """The settings, and two versions measured on the same clips, the first of them champion."""
    shutil.copytree(checkpoint[1], project / ADAPTER)
    shutil.copytree(small_dataset, project / "data")
    gate = on_base.registry.gate.model_copy(
        update={"min_balanced_accuracy": 0.0, "min_specificity": 0.0, "min_parse_rate": 0.0}
    )
    gate = gate.model_copy(update={"max_expected_calibration_error": 1.0})
    params = on_base.model_copy(
        update={
            "registry": on_base.registry.model_copy(update={"gate": gate}),
            "adapter": on_base.adapter.model_copy(update={"r": 2}),  # the checkpoint's
        }
    )
    write_evaluation(project, evaluated(project, params), FITTED)
    name, client = params.registry.model_name, connect()
    champion = client.get_model_version(name, register(project, params).version)
    rival = client.create_model_version(name, champion.source, run_id=champion.run_id, tags=dict(champion.tags))
    assert promote(params, str(champion.version)).passed
    return params, str(champion.version), str(rival.version)


def evaluated(project, params):
    """What `cac evaluate` measures of the checkpoint."""
    make_deterministic(params.compute)
    clips, store = read_clips(project / "data", "test"), ClipStore(project / "data")
    model = reward_model(FINAL, params, project)
    videos = [store.video(clip) for clip in clips]
    return align_predictions(clips, list(model.iter_judgements(videos, params.evaluation.batch_size)), FITTED)


def test_a_champion_measured_again_answers_to_the_byte_as_when_it_was_evaluated(rivals, project, capsys):
    params, champion, rival = rivals
    client, name = connect(), params.registry.model_name
    tag = predictions_tag(evaluation_set(read_clips(project / "data", "test")))
    answers = client.get_model_version(name, champion).tags[tag]
    client.delete_model_version_tag(name, champion, tag)
    refused = promote(params, rival)
    assert not refused.passed
    assert "--remeasure" in refused.table()

    decision = promote(params, rival, remeasure_in=project)
    assert decision.passed
    assert {check.value for check in decision.checks if "difference" in check.name} == {0.0}
    assert client.get_model_version(name, champion).tags[tag] == answers
    assert "clips" in capsys.readouterr().out


def test_a_best_version_that_is_not_the_champion_is_measured_again_as_well(rivals, project):
    params, best, rival = rivals
    client, name = connect(), params.registry.model_name
    assert promote(params, rival).passed
    version = client.get_model_version(name, rival)
    third = str(
        client.create_model_version(name, version.source, run_id=version.run_id, tags=dict(version.tags)).version
    )
    client.delete_model_version_tag(name, best, predictions_tag(evaluation_set(read_clips(project / "data", "test"))))
    refused = promote(params, third)
    assert {check.name for check in refused.checks if not check.passed} == {
        check.name for check in refused.checks if "_to_best" in check.name
    }
    assert promote(params, third, remeasure_in=project).passed


def test_a_test_split_that_is_not_the_challengers_is_refused(rivals, project):
    params, champion, rival = rivals
    clips = read_clips(project / "data")
    gone = next(clip for clip in clips if clip.split == "test")
    write_clips(project / "data", [clip for clip in clips if clip != gone])
    with pytest.raises(CacError, match="not the one the candidate was measured on"):
        promote(params, rival, remeasure_in=project)
    assert str(connect().get_model_version_by_alias(params.registry.model_name, "champion").version) == champion
