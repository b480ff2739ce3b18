"""Naming images by digest, against a small server that speaks as a registry does."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from cac.errors import CacError
from infra.image.digests import IMAGES, fetch_digest, pin_digest

INFRA = Path(__file__).parents[2] / "infra"
DIGEST, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


class Registry(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"token": f"for {self.path}"}).encode())

    def do_HEAD(self) -> None:
        known = (
            self.headers["Authorization"] == "Bearer for /token/library/python" and "index" in self.headers["Accept"]
        )
        self.send_response(200 if known else 404)
        if known:
            self.send_header("Docker-Content-Digest", DIGEST)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_registry_is_asked_with_its_own_token(address: str) -> None:
    python, postgres = IMAGES[:2]
    where = (f"{address}/token/{{name}}", f"{address}/{{name}}/{{tag}}")
    assert fetch_digest(python, *where) == DIGEST
    with pytest.raises(CacError, match=r"postgres:18.6: HTTP Error 404.*make digests"):
        fetch_digest(postgres, *where)


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_each_image_is_pinned_once_and_pinned_anew(image) -> None:
    before = (INFRA / image.file).read_text()
    first = pin_digest(before, image, DIGEST)
    assert first.count(DIGEST) == 1
    assert pin_digest(first, image, OTHER) == first.replace(DIGEST, OTHER)
    if image.file.endswith(".yaml"):
        yaml.safe_load(first)


def test_an_image_that_is_not_there_is_a_clear_error() -> None:
    with pytest.raises(CacError, match=r"does not name python:3\.11"):
        pin_digest("FROM scratch\n", IMAGES[0], DIGEST)


def test_every_image_of_others_is_in_the_list_and_none_is_latest() -> None:
    text = "".join((INFRA / name).read_text() for name in ("Dockerfile", "compose.yaml"))
    kustomization = yaml.safe_load((INFRA / "kubernetes" / "kustomization.yaml").read_text())["images"]
    named = {each["newName"] for each in kustomization if "registry.example" not in each["newName"]}
    assert named == {image.name for image in IMAGES if "kustomization" in image.file}
    assert ":latest" not in text
    compose = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"].values()
    foreign = {each["image"].split(":-")[1].split(":")[0] for each in compose if "build" not in each}
    assert foreign == {image.name for image in IMAGES if image.file == "compose.yaml"}
