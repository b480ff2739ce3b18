"""Dockerfile, compose.yaml and the Kubernetes files: the validators' word, and what no validator knows of."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.image.split_lock import split
from infra.stack.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
MANIFESTS = sorted(path for path in (INFRA / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")
YAML_RULES = (
    "{extends: default, rules: {line-length: {max: 120}, document-start: disable,"
    " braces: {max-spaces-inside: 0}, comments: {min-spaces-from-content: 1}}}"
)


def _documents() -> list[dict[str, Any]]:
    return [each for path in MANIFESTS for each in yaml.safe_load_all(path.read_text())]


def _pods() -> dict[str, dict[str, Any]]:
    """Every pod of the manifests and of the GPU job template, by name."""
    pods = {
        each["metadata"]["name"]: each["spec"]["template"]
        for each in _documents()
        if "template" in each.get("spec", {})
    }
    job = json.loads((INFRA / "kubernetes" / "gpu-job-template.json").read_text())["job_configuration"]["job_manifest"]
    return pods | {"gpu-job": job["spec"]["template"]}


def _run(*command: str) -> None:
    done = subprocess.run((str(Path(sys.executable).parent / command[0]), *command[1:]), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_validators_accept_the_files() -> None:
    _run("hadolint", str(INFRA / "Dockerfile"))
    _run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(INFRA / "compose.yaml"))
    _run("yamllint", "--strict", "-d", YAML_RULES, str(INFRA / "compose.yaml"), str(INFRA / "kubernetes"))
    _run("kubernetes-validate", "--strict", *map(str, MANIFESTS))


def test_a_job_of_the_gpu_template_is_a_valid_job(tmp_path: Path) -> None:
    template = json.loads((INFRA / "kubernetes" / "gpu-job-template.json").read_text())
    properties = template["variables"]["properties"]
    values = {name: each["default"] for name, each in properties.items() if "default" in each}
    values |= {"image": "cac", "command": ["true"], "env": [], "labels": {}, "annotations": {}}
    job = _filled(template["job_configuration"]["job_manifest"], values)
    job["metadata"]["name"] = job["metadata"].pop("generateName")  # the validator wants a name
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    _run("kubernetes-validate", "--strict", str(tmp_path / "job.yaml"))


def test_every_kustomization_resource_is_there() -> None:
    listed = yaml.safe_load((INFRA / "kubernetes" / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == [path.name for path in MANIFESTS]


@pytest.mark.parametrize("name", sorted(_pods()))
def test_pods_are_confined(name: str) -> None:
    spec = _pods()[name]["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["enableServiceLinks"] is False
    assert spec.get("automountServiceAccountToken") is False or spec["serviceAccountName"] == "prefect-worker"
    for container in spec["containers"]:
        assert container["resources"]["limits"]["memory"]
        amounts = [each for kind in container["resources"].values() for each in kind.values()]
        assert all(re.fullmatch(r"\d+(m|[KMGT]i)?|{{ \w+ }}", amount) for amount in amounts)
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        plain = (
            [each["name"] for each in container["env"] if "value" in each] if isinstance(container["env"], list) else []
        )
        assert not [each for each in plain if re.search("PASSWORD|AUTH_STRING$|_URI$|ACCESS_KEY$|STORE|DATABASE", each)]


def test_no_file_holds_a_secret() -> None:
    assert not [each for each in _documents() if each["kind"] == "Secret"]
    compose = (INFRA / "compose.yaml").read_text()
    secret = {f"{PREFIX}{name.upper()}" for name, field in Settings.model_fields.items() if field.is_required()}
    used = set(re.findall(r"\$\{(\w+)", compose))
    assert secret <= used
    for name in secret:
        assert set(re.findall(rf"\${{{name}(.)", compose)) == {":"}, f"{name} is not required everywhere"
        assert f"{name}:-" not in compose


def test_compose_reads_the_settings_the_stack_makes() -> None:
    names = set(re.findall(r"\$\{(STACK_\w+)", (INFRA / "compose.yaml").read_text()))
    assert names <= {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}


def test_compose_opens_ports_to_this_machine_alone() -> None:
    services = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_lasting_compose_service_has_a_health_check_and_comes_back() -> None:
    services = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]
    lasting = {name for name, service in services.items() if "healthcheck" in service}
    assert lasting == {name for name, service in services.items() if "restart" in service}
    assert set(services) - lasting == {"provision", "automations"}


def test_prefect_keeps_who_holds_a_slot_where_a_restart_finds_it() -> None:
    name, wanted = "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE", "prefect.server.concurrency.lease_storage.filesystem"
    compose = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]["prefect"]
    [container] = _pods()["prefect"]["spec"]["containers"]
    cluster = {each["name"]: each.get("value") for each in container["env"]}
    for environment, mounts in (
        (compose["environment"], [volume.split(":")[1] for volume in compose["volumes"]]),
        (cluster, [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] != "tmp"]),
    ):
        assert environment[name] == wanted
        assert environment["PREFECT_HOME"] in mounts


def test_dvc_uses_the_cache_that_jobs_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc.config import Config

    [config] = [each["data"]["config"] for each in _documents() if each["metadata"]["name"] == "cac-dvc"]
    (tmp_path / "config").write_text(config)
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path))
    mounts = _pods()["gpu-job"]["spec"]["containers"][0]["volumeMounts"]
    assert Config.from_cwd().load_one("global")["cache"]["dir"] in [mount["mountPath"] for mount in mounts]
    [addresses] = [each["data"] for each in _documents() if each["metadata"]["name"] == "cac-addresses"]
    assert addresses["DVC_GLOBAL_CONFIG_DIR"] in [mount["mountPath"] for mount in mounts]


def test_mlflow_is_told_exactly_its_own_names() -> None:
    compose = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]["mlflow"]["command"]
    cluster = _pods()["mlflow"]["spec"]["containers"][0]["args"]
    for command, own in ((compose, "mlflow:5000"), (cluster, "mlflow:5000")):
        [hosts] = [each.removeprefix("--allowed-hosts=") for each in command if each.startswith("--allowed-hosts=")]
        assert own in hosts.split(",")
        assert "*" not in hosts
        assert all(re.search(r":(\d+|\$\{STACK_MLFLOW_PORT:-\d+\})$", host) for host in re.split(r",(?![^{]*})", hosts))
        assert "--disable-security-middleware" not in command


def test_the_cpu_image_needs_nothing_of_cuda_and_keeps_every_other_hash() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines(keepends=True)
    cpu, torch = split(lines, "cpu"), split(lines, "torch")
    pins = [line for line in cpu if not line.startswith(" ")]
    assert not [line for line in pins if re.match("nvidia|cuda|triton|torch", line)]
    left_out = len([line for line in lines if not line.startswith(" ")]) - len(pins)
    assert left_out == len([line for line in lines if re.match("nvidia|cuda|triton|torch", line)]) > 10
    assert all(
        cpu[index + 1].lstrip().startswith("--hash=") for index, line in enumerate(cpu) if not line.startswith(" ")
    )
    assert [line.split("==")[0] for line in torch] == ["torch", "torchvision"]
    assert split(lines, "cuda") == lines


def test_the_image_leaves_secrets_out() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines.index("infra/.env") > lines.index("!infra")
    copied = re.findall(r"^COPY (?!--from)(.+)$", (INFRA / "Dockerfile").read_text(), re.MULTILINE)
    sources = {source for line in copied for source in line.split()[:-1]}
    assert all((ROOT / source).exists() for source in sources)
    allowed = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert all(any(source == each or source.startswith(f"{each}/") for each in allowed) for source in sources)


def _filled(node: Any, values: dict[str, Any]) -> Any:
    """Put `values` in the place of `{{ name }}`, as Prefect does; what has no value is left out."""
    if isinstance(node, dict):
        filled = {key: _filled(each, values) for key, each in node.items()}
        return {key: each for key, each in filled.items() if each is not None}
    if isinstance(node, list):
        return [_filled(each, values) for each in node]
    if not isinstance(node, str):
        return node
    whole = re.fullmatch(r"{{ (\w+) }}", node)
    return values.get(whole[1]) if whole else re.sub(r"{{ (\w+) }}", lambda found: str(values[found[1]]), node)
