import pytest

from cac.evaluation.calibration import Calibration
from cac.registry.fingerprint import Fingerprint
from cac.registry.model_card import MAX_DESCRIPTION, CardFacts, model_card, summary

STATE = Fingerprint("c" * 40, "false", "d" * 32 + ".dir", "p" * 64, "s" * 64, "e" * 64)


@pytest.fixture
def facts(params):
    metrics = {
        "two_turn_grpo": {
            "balanced_accuracy": {"value": 0.8125, "low": 0.75, "high": 0.875},
            "specificity": {"value": 0.9, "low": 0.8, "high": 1.0},
        },
        "majority": {
            "balanced_accuracy": {"value": 0.5, "low": 0.5, "high": 0.5},
            "auroc": {"value": None, "low": None, "high": None},
        },
    }
    return CardFacts(params, STATE, metrics, "two_turn_grpo", Calibration(1.5, 0.2))


def test_the_card_states_numbers_origin_and_settings(facts):
    card = model_card(facts)
    assert "| two_turn_grpo | 0.812 [0.750, 0.875] |" in card
    assert "| majority | 0.500 [0.500, 0.500] |" in card
    assert "| specificity | 0.900 [0.800, 1.000] |" in card
    assert all(value in card for value in STATE.tags().values())
    assert '"two_turn_grpo": {' in card
    assert "models:/cac-reward-model@champion" in card


def test_an_undefined_metric_is_said_to_be_so(facts):
    facts = CardFacts(facts.params, facts.state, facts.metrics, "majority", Calibration())
    assert "| auroc | undefined |" in model_card(facts)


def test_the_summary_always_fits_mlflows_field(facts):
    interval = {"value": 0.5, "low": 0.4, "high": 0.6}
    many = {"two_turn_grpo": {"balanced_accuracy": interval, **{f"metric_{i}": interval for i in range(200)}}}
    crowded = CardFacts(facts.params, facts.state, many, "two_turn_grpo", Calibration(1.5, 0.2))
    assert len(model_card(crowded)) > MAX_DESCRIPTION >= len(summary(crowded))
    assert "## Limits" in summary(crowded)
    assert "| specificity |" in summary(facts)
