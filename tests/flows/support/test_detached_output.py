"""A process whose output nobody reads any more goes on."""

import subprocess
import sys

_PROGRAM = """
import sys
from rich.console import Console
from flows.support.detached_output import ignore_broken_output

ignore_broken_output()
sys.stdin.read()  # the reader is gone when this returns
consoles = [Console(file=sys.stderr), Console()]
for _ in range(3):
    for console in consoles:
        console.print("nobody reads this")
    print("nor this", flush=True)
open(sys.argv[1], "w").write("at the end")
"""


def test_it_goes_on_when_nobody_reads(tmp_path) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen((sys.executable, "-c", _PROGRAM, str(tmp_path / "note")), **pipes)
    for stream in (process.stdout, process.stderr, process.stdin):
        stream.close()
    assert process.wait() == 0
    assert (tmp_path / "note").read_text() == "at the end"
