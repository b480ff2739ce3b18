"""Options with an old name: every verb that had them reports the new name."""

import argparse

import pytest

from cac.cli.flow_arguments import parse_flow_arguments
from cac.cli.main import build_parser
from cac.cli.options import RenamedOption

RENAMED = (("--val-share", "--val-ratio"), ("--test-share", "--test-ratio"))
VERBS = (
    ("data", "import", "coco", "labels.json"),
    ("data", "inject", "videos"),
    ("data", "merge", "one", "other"),
    ("data", "split", "dataset"),
)


@pytest.mark.parametrize(("old", "new"), RENAMED)
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[1])
def test_an_old_option_is_an_error_that_names_the_new_one_even_if_required_options_are_missing(verb, old, new, capsys):
    with pytest.raises(SystemExit) as stopped:
        build_parser().parse_args([*verb, old, "0.2"])
    assert stopped.value.code == 2
    assert f"error: {old} was renamed. Use {new} instead." in capsys.readouterr().err


@pytest.mark.parametrize(("old", "new"), RENAMED)
def test_ingestion_reports_the_new_name_of_an_old_option(old, new, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse_flow_arguments(["ingest", "s3://bucket/landing", f"{old}=0.2"])
    assert stopped.value.code == 2
    assert f"{old} was renamed. Use {new} instead." in capsys.readouterr().err


def test_help_does_not_list_an_old_option_and_the_result_has_no_field_for_it():
    parser = argparse.ArgumentParser()
    parser.add_argument("--new")
    parser.add_argument("--old", action=RenamedOption, new_name="--new")
    assert "--old" not in parser.format_help()
    assert vars(parser.parse_args(["--new", "1"])) == {"new": "1"}
