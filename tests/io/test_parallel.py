import subprocess
import sys
import time
from pathlib import Path

import pytest

from cac.io.parallel import parallel_map


def doubled(number: int) -> int:
    if number == 13:
        raise ValueError("thirteen")
    return 2 * number


def test_results_come_in_order() -> None:
    assert list(parallel_map(doubled, range(12))) == [2 * number for number in range(12)]


def test_what_a_piece_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="thirteen"):
        list(parallel_map(doubled, range(20)))


def slow_but_first_fails(number: int) -> None:
    if number == 0:
        raise ValueError("the first")
    time.sleep(600)


def test_a_failure_does_not_wait_for_what_the_others_are_at() -> None:
    with pytest.raises(ValueError, match="the first"):
        list(parallel_map(slow_but_first_fails, range(4), processes=2, chunk_size=1))


LONG_WORK = """
import os, sys, time
from functools import partial
from pathlib import Path
from cac.io.parallel import parallel_map

def note(folder, number):
    (folder / str(os.getpid())).touch()
    time.sleep(600)

if __name__ == "__main__":
    list(parallel_map(partial(note, Path(sys.argv[1])), range(64)))
"""


def test_workers_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    script, marks = tmp_path / "work.py", tmp_path / "marks"
    script.write_text(LONG_WORK)
    marks.mkdir()
    parent = subprocess.Popen([sys.executable, str(script), str(marks)])
    wait_for(lambda: any(marks.iterdir()))
    workers = [int(mark.name) for mark in marks.iterdir()]
    parent.kill()
    parent.wait()
    wait_for(lambda: not any(is_alive(worker) for worker in workers))


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_for(condition, seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not come"
        time.sleep(0.1)
