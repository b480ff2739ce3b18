import json
from dataclasses import asdict

import pytest
from pydantic import ValidationError

from cac.evaluation.metrics import METRICS
from cac.registry.gate import CEILINGS, FLOORS, Check, Decision

DECISION = Decision(
    "m", "2", "1", False, (Check("specificity", 0.4, 0.5, False, "at least"), Check("x", None, 0.0, True, "–"))
)


def test_a_decision_survives_its_json_file():
    assert Decision.from_dict(json.loads(json.dumps(asdict(DECISION)))) == DECISION


@pytest.mark.parametrize("change", [{"passed": "yes"}, {"version": 2}, {"extra": 1}, {"checks": [{"name": "x"}]}])
def test_a_decision_file_with_other_content_is_refused(change):
    with pytest.raises(ValidationError):
        Decision.from_dict({**asdict(DECISION), **change})


def test_bounds_follow_the_direction_of_each_metric():
    assert all(METRICS[name].higher_is_better for name in FLOORS)
    assert "expected_calibration_error" in CEILINGS
    assert not METRICS["expected_calibration_error"].higher_is_better
