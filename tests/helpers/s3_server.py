"""A real S3 server (rclone) over a folder, on a port of its own, that can be killed and started again."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ACCESS, SECRET = "A" * 20, "S" * 20
BUCKET = "team"


class S3Server:
    """`folder` holds a folder a bucket; `environment` is what a client needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / BUCKET).mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.environment = {
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "3",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        rclone = Path(sys.executable).parent / "rclone"
        command = (str(rclone), "serve", "s3", "--config", "", "--addr", f"127.0.0.1:{self.port}", *options)
        self._process = subprocess.Popen(
            (*command, str(self.folder)),
            env=os.environ | {"RCLONE_AUTH_KEY": f'"{ACCESS},{SECRET}"'},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not self._answers():
            assert self._process.poll() is None, "rclone did not start"
            time.sleep(0.02)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def files(self) -> dict[str, bytes]:
        """What the bucket holds, by key."""
        root = self.folder / BUCKET
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """Serve the folder, and yield the environment that clients of it need."""
    server = S3Server(folder)
    server.start()
    try:
        yield server.environment
    finally:
        server.kill()
