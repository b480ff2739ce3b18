"""A server that PREFECT_API_URL names has to be there."""

from pathlib import Path

import pytest

from cac.errors import CacError
from flows.support.prefect_server import local_server


def test_a_named_server_that_does_not_answer_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://somebody:Secret@127.0.0.1:9/api")
    with pytest.raises(CacError, match="make stack") as refused, local_server(tmp_path / "server.log"):
        pass
    assert "127.0.0.1:9" in str(refused.value)
    assert "Secret" not in str(refused.value)
