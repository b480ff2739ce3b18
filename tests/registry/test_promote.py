import json
from pathlib import Path

import pytest
from helpers.tiny_versions import Tiny, make_version

from cac.errors import CacError
from cac.registry import overrides as rollback_module
from cac.registry.comparison import COMPARED
from cac.registry.promote import promote
from cac.registry.versions import CHAMPION, INCOMPLETE, PREVIOUS
from cac.schema.taxonomy import Family
from cac.tracking.mlflow_runs import connect

pytestmark = pytest.mark.slow

BOUNDS = ["balanced_accuracy", "specificity", "parse_rate", "expected_calibration_error", "seconds_per_clip"]
FAMILIES = [f"accuracy_difference.{family}" for family in Family]
DIFFERENCES = [*(f"{metric}_difference" for metric in COMPARED), *FAMILIES]
WORSE = ["balanced_accuracy_difference"]
NAMES = [*BOUNDS, *DIFFERENCES, "rolled_back", "vetoed"]


@pytest.fixture
def version_of(project, params):
    """Make a version and return its number; keywords are `Tiny`'s, and any other one a metric."""

    def make(**wanted):
        given = {key: wanted.pop(key) for key in ("missed", "pairs", "data", "registration") if key in wanted}
        return make_version(Tiny(metrics=wanted, **given), params.registry.model_name, params.registry.experiment)

    return make


def failed(decision):
    return [check.name for check in decision.checks if not check.passed]


def kept_file(params, version, name):
    """A file of the gate's in the version's run, as text."""
    run_id = connect().get_model_version(params.registry.model_name, version).run_id
    (file,) = (Path.cwd() / ".mlflow" / "artifacts").glob(f"{run_id}/**/gate/{name}")
    return file.read_text(encoding="utf-8")


def test_champion_moves_keeps_the_old_one_and_moving_again_changes_nothing(version_of, aliases, params, tags):
    first, second = version_of(), version_of(balanced_accuracy=0.9)
    assert promote(params, first).champion is None
    assert aliases() == {CHAMPION: first}
    assert promote(params, second).champion == first
    assert aliases() == {CHAMPION: second, PREVIOUS: first}
    before = tags(second)
    assert before["gate"] == "passed"
    assert promote(params, second).passed
    assert aliases() == {CHAMPION: second, PREVIOUS: first}
    assert tags(second) == before


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("balanced_accuracy", 0.59),
        ("specificity", 0.49),
        ("parse_rate", 0.97),
        ("specificity", float("nan")),
        ("expected_calibration_error", 0.21),
        ("expected_calibration_error", float("nan")),
        ("seconds_per_clip", 5.1),
    ],
)
def test_one_missed_bound_stops_it_and_all_checks_are_listed(version_of, aliases, params, metric, value, tags):
    first = version_of(balanced_accuracy=0.6, specificity=0.5, expected_calibration_error=0.2, seconds_per_clip=5.0)
    assert promote(params, first).passed, "a value at its bound passes"
    bad = version_of(**{metric: value})
    decision = promote(params, bad)
    assert not decision.passed
    assert [check.name for check in decision.checks] == NAMES
    assert failed(decision) == [metric]
    assert aliases() == {CHAMPION: first}
    assert tags(bad)["gate"] == "failed"
    assert tags(bad)["gate_reasons"].startswith(metric)
    assert len(json.loads(tags(bad)["gate_checks"])) == len(NAMES)
    assert decision.table().count("FAILED") == 1


def test_the_decision_is_kept_with_the_challengers_run(version_of, params, tags):
    first, bad = version_of(), version_of(specificity=0.1)
    promote(params, first)
    decision = promote(params, bad)
    kept = json.loads(kept_file(params, bad, "decision.json"))
    assert (kept["version"], kept["champion"], kept["passed"]) == (bad, first, False)
    assert kept["evaluation_set"] == tags(bad)["evaluation_set"]
    assert decision.table() in kept_file(params, bad, "decision.md")
    assert "is the champion, and the best so far" in kept_file(params, first, "decision.md")


def test_without_a_champion_there_is_nothing_to_compare_with_and_the_checks_say_so(version_of, params):
    decision = promote(params, version_of())
    assert [check.name for check in decision.checks] == NAMES
    assert {check.note for check in decision.checks if "difference" in check.name} == {"no champion yet"}


@pytest.mark.parametrize(
    ("missed", "refused_for"),
    [
        ((), []),  # as good as the champion
        ((0,), []),  # 1 of 22 pairs: the value falls by 0.02, the interval reaches down to 0.07
        ((0, 3, 6, 9), WORSE),  # a clip of each family: 0.09, which is within the bound, but certain
        ((6, 7, 17, 8), [*WORSE, "accuracy_difference.physical_violation"]),
    ],
)
def test_a_candidate_may_fall_behind_the_champion_only_so_far(version_of, aliases, params, missed, refused_for):
    champion, candidate = version_of(pairs=22), version_of(pairs=22, missed=missed)
    promote(params, champion)
    decision = promote(params, candidate)
    assert failed(decision) == refused_for
    assert aliases()[CHAMPION] == (champion if refused_for else candidate)


def test_a_family_must_not_pay_for_the_others(version_of, params):
    """Better on the whole, so only the family's own check can stop it."""
    physical = [pair for pair in range(44) if pair % 11 in (6, 7, 8)]
    promote(params, version_of(pairs=44, missed=range(22, 44)))
    decision = promote(params, version_of(pairs=44, missed=physical))
    assert failed(decision) == ["accuracy_difference.physical_violation"]
    value = {check.name: check.value for check in decision.checks}
    assert value["accuracy_difference.physical_violation"] == pytest.approx(-0.25)
    assert value["accuracy_difference.corrupted_text"] == pytest.approx(0.25)


def test_the_same_errors_weigh_less_than_as_many_others(version_of, params):
    """What makes it paired: against a champion with the very same errors there is no doubt, so no interval."""
    errors = (0, 3, 6, 9, 14, 17)
    promote(params, version_of(pairs=22, missed=errors))
    same = promote(params, version_of(pairs=22, missed=errors))
    others = promote(params, version_of(pairs=22, missed=(1, 4, 7, 10, 15, 18)))
    note = {d.version: c.note for d in (same, others) for c in d.checks if c.name == "balanced_accuracy_difference"}
    assert "[+0.000, +0.000]" in note[same.version]
    assert "[-0.1" in note[others.version]


def test_numbers_from_other_clips_are_not_compared(version_of, aliases, params):
    champion, candidate = version_of(data="old.dir"), version_of(data="new.dir", balanced_accuracy=0.9)
    promote(params, champion)
    refused = promote(params, candidate)
    assert failed(refused) == DIFFERENCES
    assert all(check.value is None and "--remeasure" in check.note for check in refused.checks[5:-2])
    assert aliases() == {CHAMPION: champion}


def test_other_data_with_the_same_test_clips_is_compared(version_of, params, project):
    """What counts is the clips and not the dataset's hash, which changes with any training clip."""
    champion, candidate = version_of(), version_of()
    promote(params, champion)
    connect().set_model_version_tag(params.registry.model_name, candidate, "data_md5", "another.dir")
    assert promote(params, candidate).passed


def test_a_version_cut_off_while_registering_is_never_promoted(version_of, aliases, params):
    with pytest.raises(CacError, match="not complete"):
        promote(params, version_of(registration=INCOMPLETE))
    assert aliases() == {}


def test_a_version_that_is_not_there_is_named(version_of, params):
    version_of()
    with pytest.raises(CacError, match="no version 7"):
        promote(params, "7")


def test_answers_that_are_damaged_or_gone_are_named(version_of, params, project):
    version = version_of()
    (answers,) = (project / ".mlflow" / "artifacts").rglob("measured/*.jsonl")
    answers.write_text(answers.read_text()[:-40])
    with pytest.raises(CacError, match="damaged"):
        promote(params, version)
    answers.unlink()
    with pytest.raises(CacError, match="cannot read measured/"):
        promote(params, version)


def test_a_version_without_test_answers_is_told_to_be_registered_again(version_of, params):
    version = version_of()
    name, client = params.registry.model_name, connect()
    client.delete_model_version_tag(name, version, "evaluation_set")
    with pytest.raises(CacError, match=r"no tag evaluation_set.*cac register"):
        promote(params, version)


def test_a_refusal_of_the_champion_or_a_former_one_leaves_the_tags_that_made_it_so(version_of, aliases, params, tags):
    first, second = version_of(), version_of()
    promote(params, first)
    promote(params, second)
    gate = params.registry.gate.model_copy(update={"min_specificity": 0.99})
    strict = params.model_copy(update={"registry": params.registry.model_copy(update={"gate": gate})})
    for version in (second, first):
        assert failed(promote(strict, version)) == ["specificity"]
        assert tags(version)["gate"] == "passed"
    assert json.loads(kept_file(params, first, "decision.json"))["passed"] is False
    assert aliases() == {CHAMPION: second, PREVIOUS: first}
    assert rollback_module.rollback(params, "still possible").restored == first
