"""A real S3 server over a folder, for tests: each folder in it is a bucket."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KEY, SECRET = "key", "secret"


@contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """Serve the folder, and yield the environment that clients of it need."""
    port = free_port()
    program = str(Path(sys.executable).parent / "rclone")
    server = subprocess.Popen(
        (program, "serve", "s3", "--config", "", "--addr", f"127.0.0.1:{port}", str(folder)),
        env=os.environ | {"RCLONE_AUTH_KEY": f'"{KEY},{SECRET}"'},
        stderr=subprocess.DEVNULL,
    )
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert server.poll() is None
            time.sleep(0.05)
        yield {
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        server.kill()
        server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
