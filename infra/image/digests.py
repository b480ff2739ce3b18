"""`make digests`: names the images of infra/ by digest as well, as their registries have them now.

A tag can be moved to another image, a digest cannot. Asks Docker Hub for the digest of each tag and writes
`NAME:TAG@sha256:…` in its place (in a kustomization `digest:` beside `newTag:`). Run it where the registry can be
reached, read the difference, commit it; run again, it asks anew. Left out: images of one's own, whose digest `docker
push` tells.
"""

import json
import re
import sys
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from cac.cli.console import print_error
from cac.cli.main import EXIT_MISTAKE
from cac.errors import CacError

_INFRA = Path(__file__).parents[1]
_SECONDS = 30
_DIGEST = r"(?:@sha256:[0-9a-f]{64})?"
_INDEX = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"
_AUTH = "https://auth.docker.io/token?service=registry.docker.io&scope=repository:{name}:pull"
_MANIFEST = "https://registry-1.docker.io/v2/{name}/manifests/{tag}"


@dataclass(frozen=True)
class Image:
    """An image others make: the file in infra/ that names it, its repository on Docker Hub, its tag."""

    file: str
    name: str
    tag: str

    @property
    def repository(self) -> str:
        """The name in full: an official image's begins with library/."""
        return self.name if "/" in self.name else f"library/{self.name}"


IMAGES = (
    Image("Dockerfile", "python", "3.11-slim-bookworm"),
    Image("compose.yaml", "postgres", "18.6"),
    Image("compose.yaml", "rclone/rclone", "1.75.2"),
    Image("kubernetes/kustomization.yaml", "prefecthq/prefect", "3.8.8-python3.11-kubernetes"),
)


def pinned(text: str, image: Image, digest: str) -> str:
    """Return a file's text with the digest at each place that names the image.

    Raises:
        CacError: none does.
    """
    name, tag = re.escape(image.name), re.escape(image.tag)
    place, new = rf"(?m)^([^#\n]*(?<![\w/]){name}:{tag})(?![\w.-]){_DIGEST}", rf"\g<1>@{digest}"
    if image.file.endswith("kustomization.yaml"):
        place = rf"(newName: {name}\n(\s+)newTag: {tag}\n)(?:\s+digest: \S+\n)?"
        new = rf"\g<1>\g<2>digest: {digest}\n"
    changed, count = re.subn(place, new, text)
    if not count:
        raise CacError(f"{image.file} does not name {image.name}:{image.tag}. Bring the list in {__file__} up to date.")
    return changed


def digest_of(image: Image, auth: str = _AUTH, manifest: str = _MANIFEST) -> str:
    """Ask the registry for the digest of an image of all platforms.

    Raises:
        CacError: it cannot be reached, or knows no such image.
    """
    try:
        with urlopen(auth.format(name=image.repository), timeout=_SECONDS) as answer:
            token = json.load(answer)["token"]
        address = manifest.format(name=image.repository, tag=image.tag)
        request = Request(address, headers={"Authorization": f"Bearer {token}", "Accept": _INDEX}, method="HEAD")
        with urlopen(request, timeout=_SECONDS) as answer:
            digest = answer.headers.get("Docker-Content-Digest", "")
    except (URLError, HTTPException, OSError, KeyError, ValueError) as error:
        raise CacError(
            f"no digest of {image.name}:{image.tag}: {error}. Run `make digests` where Docker Hub can be reached."
        ) from error
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise CacError(f"the registry names no digest of {image.name}:{image.tag}, but {digest!r}. Try again later.")
    return digest


def main() -> int:
    """Pin all images, or none if one of them cannot be had, and return the exit code."""
    try:
        digests = {image: digest_of(image) for image in IMAGES}
        for image, digest in digests.items():
            path = _INFRA / image.file
            path.write_text(pinned(path.read_text(encoding="utf-8"), image, digest), encoding="utf-8")
            print(f"{image.file}: {image.name}:{image.tag}@{digest}")
    except CacError as error:
        print_error(str(error))
        return EXIT_MISTAKE
    return 0


if __name__ == "__main__":
    sys.exit(main())
