"""The taxonomy against what relies on it: the answer's grammar, the generator, and what the paper names."""

import re

import pytest

from cac.schema.taxonomy import LEAVES, Family, family_of


def test_every_family_of_the_paper_has_leaves() -> None:
    assert {family.value for family in Family} == {
        "structural_distortion",
        "temporal_inconsistency",
        "physical_violation",
        "corrupted_text",
    }
    assert {leaf.family for leaf in LEAVES.values()} == set(Family)


def test_names_fit_the_answers_grammar() -> None:
    for name, leaf in LEAVES.items():
        assert leaf.name == name
        assert re.fullmatch("[a-z_]+", name)
        assert name != "none"
        assert leaf.definition.endswith(".")


def test_single_frames_can_teach_some_leaves_but_not_those_that_need_time() -> None:
    visible = {name for name, leaf in LEAVES.items() if leaf.visible_in_frame}

    assert visible
    assert not visible & {"colour_swap", "vanishing", "shape_morph", "teleport", "size_jump"}
    assert not visible & {"texture_jitter", "frozen_region", "reversed_motion", "speed_jump", "shifting_text"}


def test_family_of_a_leaf() -> None:
    assert family_of("teleport") is Family.PHYSICAL
    with pytest.raises(KeyError):
        family_of("telepotr")
