"""A server that is really not there, asked by MLflow's own client."""

from pathlib import Path

import pytest

from cac.cli import main as cli
from cac.tracking.mlflow_unreachable import explain_unreachable, is_unreachable

ROOT = Path(__file__).parents[2]


@pytest.fixture
def error(monkeypatch) -> Exception:
    import mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somebody:Secret@127.0.0.1:9")
    with pytest.raises(mlflow.exceptions.MlflowException) as error:
        mlflow.MlflowClient("http://127.0.0.1:9").search_experiments()
    return error.value


def test_it_is_told_with_its_address_and_without_its_password(error):
    told = explain_unreachable(error)
    assert told is not None
    assert "127.0.0.1:9" in told
    assert "Secret" not in told


def test_it_is_found_behind_other_errors(error):
    with pytest.raises(ValueError, match="training") as other:
        raise ValueError("while training") from error
    assert is_unreachable(other.value)


def test_other_errors_are_left_alone():
    import mlflow

    assert not is_unreachable(mlflow.exceptions.MlflowException("Run 'x' not found"))
    assert explain_unreachable(ConnectionError("API request to x failed with exception y")) is None


@pytest.mark.parametrize(
    "command",
    [
        ["promote", "--version", "3"], ["veto", "--version", "3", "--reason", "no"], ["rollback", "--reason", "no"],
        ["score", "a.mp4"],
    ],
)  # fmt: skip
def test_a_server_that_is_gone_is_not_taken_for_an_empty_one(error, command, capsys):
    assert cli.main(["--params", str(ROOT / "params.yaml"), *command]) == 2
    said = capsys.readouterr().err
    assert "127.0.0.1:9" in said
    assert "Secret" not in said
    assert "register" not in said.lower()
