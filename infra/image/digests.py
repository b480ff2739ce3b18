"""`make digests`: pins the images of infra/ to the digests that Docker Hub reports now.

A tag can move to another image, a digest cannot. The script asks Docker Hub for the digest of each tag and writes
`NAME:TAG@sha256:…` (in a kustomization `digest:` beside `newTag:`). Run it with access to the registry, review the
diff and commit it. Each run asks the registry again. Out of scope: your own images; `docker push` prints their digest.
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
from cac.errors import EXIT_MISTAKE, CacError

_INFRA = Path(__file__).parents[1]
_TIMEOUT_SECONDS = 30
_DIGEST = r"(?:@sha256:[0-9a-f]{64})?"
_INDEX = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"
_AUTH = "https://auth.docker.io/token?service=registry.docker.io&scope=repository:{name}:pull"
_MANIFEST = "https://registry-1.docker.io/v2/{name}/manifests/{tag}"


@dataclass(frozen=True)
class Image:
    """A third-party image: the file in infra/ that uses it, its repository on Docker Hub, and its tag."""

    file: str
    name: str
    tag: str

    @property
    def repository(self) -> str:
        """The full name; Docker Hub stores official images under library/."""
        return self.name if "/" in self.name else f"library/{self.name}"


IMAGES = (
    Image("Dockerfile", "python", "3.11-slim-bookworm"),
    Image("compose.yaml", "postgres", "18.6"),
    Image("compose.yaml", "rclone/rclone", "1.75.2"),
    Image("kubernetes/kustomization.yaml", "prefecthq/prefect", "3.8.8-python3.11-kubernetes"),
)


def pin_digest(text: str, image: Image, digest: str) -> str:
    """Return `text` with the digest added to each reference to the image.

    Raises:
        CacError: the text has no reference to the image.
    """
    name, tag = re.escape(image.name), re.escape(image.tag)
    pattern, replacement = rf"(?m)^([^#\n]*(?<![\w/]){name}:{tag})(?![\w.-]){_DIGEST}", rf"\g<1>@{digest}"
    if image.file.endswith("kustomization.yaml"):
        pattern = rf"(newName: {name}\n(\s+)newTag: {tag}\n)(?:\s+digest: \S+\n)?"
        replacement = rf"\g<1>\g<2>digest: {digest}\n"
    changed, count = re.subn(pattern, replacement, text)
    if not count:
        raise CacError(f"{image.file} does not name {image.name}:{image.tag}. Update IMAGES in {__file__}.")
    return changed


def fetch_digest(image: Image, auth: str = _AUTH, manifest: str = _MANIFEST) -> str:
    """Ask the registry for the digest of the multi-platform image.

    Raises:
        CacError: the registry cannot be reached or does not have the image.
    """
    try:
        with urlopen(auth.format(name=image.repository), timeout=_TIMEOUT_SECONDS) as response:
            token = json.load(response)["token"]
        address = manifest.format(name=image.repository, tag=image.tag)
        request = Request(address, headers={"Authorization": f"Bearer {token}", "Accept": _INDEX}, method="HEAD")
        with urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            digest = response.headers.get("Docker-Content-Digest", "")
    except (URLError, HTTPException, OSError, KeyError, ValueError) as error:
        raise CacError(
            f"no digest of {image.name}:{image.tag}: {error}. Run `make digests` with access to Docker Hub."
        ) from error
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise CacError(f"the registry returned {digest!r} as the digest of {image.name}:{image.tag}. Try again later.")
    result: str = digest
    return result


def main() -> int:
    """Pin all images, or none if one request fails, and return the exit code."""
    try:
        digests = {image: fetch_digest(image) for image in IMAGES}
        for image, digest in digests.items():
            path = _INFRA / image.file
            path.write_text(pin_digest(path.read_text(encoding="utf-8"), image, digest), encoding="utf-8")
            print(f"{image.file}: {image.name}:{image.tag}@{digest}")
    except CacError as error:
        print_error(str(error))
        return EXIT_MISTAKE
    return 0


if __name__ == "__main__":
    sys.exit(main())
