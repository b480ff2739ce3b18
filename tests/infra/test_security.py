"""What is open to whom, and that no file holds a secret; the running stack is looked at in `test_stack_services.py`."""

import re
import subprocess
from pathlib import Path

import pytest

from infra.stack.local_stack import Stack, open_stack
from infra.stack.services import start_groups

ROOT = Path(__file__).parents[2]
OUTSIDE = ("infra/compose.yaml", "infra/kubernetes/")  # in a container 0.0.0.0 is the container's own network
KNOWN = ("minioadmin", "postgres:postgres", "admin:admin", "password1234", "changeme", "hunter2")
# A name that means a secret, and a literal for it rather than a reference such as ${…} or <…>.
_NAME = r"""(?i)(?:password|passwd|secret_key|secret_access_key|auth_string|api_key)["']?"""
IN_CODE = re.compile(_NAME + r"""\s*[:=]\s*["'][A-Za-z0-9]{6,}["']""")
IN_PROSE = re.compile(_NAME + r"""=[A-Za-z0-9]{6,}""")
IN_SETTINGS = re.compile(_NAME + r"""\s*[:=]\s*["']?[A-Za-z0-9][^\s"'$]{5,}""")


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return open_stack(tmp_path)


def _texts() -> dict[str, str]:
    """The text files git tracks, without the tests, which plant secrets."""
    listed = subprocess.run(("git", "ls-files"), cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    texts = {}
    for name in listed:
        path = ROOT / name
        if name.startswith("tests/") or not path.is_file() or path.stat().st_size > 1 << 20:
            continue
        try:
            texts[name] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return texts


def test_no_file_holds_a_password() -> None:
    texts = _texts()
    assert len(texts) > 300
    lines = [(name, line.strip()) for name, text in texts.items() for line in text.splitlines()]
    found = [(name, line) for name, line in lines if _is_secret(name, line)]
    assert not found
    assert not [(name, known) for name, text in texts.items() for known in KNOWN if known in text]


def _is_secret(name: str, line: str) -> bool:
    patterns = {".py": IN_CODE, ".md": IN_PROSE}
    return bool(patterns.get(Path(name).suffix, IN_SETTINGS).search(line))


@pytest.mark.parametrize(
    "line", ["POSTGRES_PASSWORD: correcthorse", "AWS_SECRET_KEY=abcdef123456", 'password = "correcthorse"']
)
def test_a_password_would_be_found(line: str) -> None:
    assert _is_secret("compose.yaml", line)


def test_nothing_is_open_to_other_machines() -> None:
    text = {name: text for name, text in _texts().items() if not name.startswith(OUTSIDE) and not name.endswith(".md")}
    assert not [name for name, content in text.items() if "0.0.0.0" in content]


def test_servers_are_told_loopback_and_their_own_names(stack: Stack) -> None:
    services = {service.name: service for group in start_groups(stack) for service in group}
    for name in ("mlflow", "prefect"):
        command = services[name].command
        assert command[command.index("--host") + 1] == "127.0.0.1"
    port = stack.settings.mlflow_port
    mlflow = services["mlflow"].command
    assert mlflow[mlflow.index("--allowed-hosts") + 1] == f"127.0.0.1:{port},localhost:{port}"
    assert "--disable-security-middleware" not in mlflow
    auth = services["prefect"].environment["PREFECT_SERVER_API_AUTH_STRING"]
    assert auth == f"cac:{stack.settings.prefect_password}"


def test_no_service_gets_a_secret_on_its_command_line(stack: Stack) -> None:
    secrets = [value for name, value in stack.settings.model_dump().items() if name.endswith(("password", "key"))]
    for group in start_groups(stack):
        for service in group:
            assert not [secret for secret in secrets if secret in " ".join(service.command)]
