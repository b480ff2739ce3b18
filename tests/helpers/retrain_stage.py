"""A stage's command that costs nothing but leaves what can be registered: a real adapter, and invented answers that get
better with the number of train clips. CAC_TEST_HANG names a stage that hangs until `.scratch/hanging` is removed."""

import os
import shutil
import sys
import time
from pathlib import Path

import cheap_stage

from cac.model.calibration import Calibration
from cac.schema.annotations import read_clips
from tests.helpers.tiny_versions import Tiny, answers, write_evaluation

FITTED = Calibration(1.5, 0.2)


def main(name: str) -> None:
    if os.environ.get("CAC_TEST_HANG") == name:
        _hang(Path(".scratch/hanging"))
    cheap_stage.main(name)
    with Path(os.environ["CAC_TEST_RAN"]).open("a") as log:
        log.write(f"{name}\n")
    Path("ran.log").unlink()
    if name == "two_turn_grpo":
        shutil.copytree(os.environ["CAC_TEST_ADAPTER"], "models/two_turn_grpo", dirs_exist_ok=True)
    if name == "evaluate":
        missed = range(1 - min(1, len(read_clips(Path("data"), "train"))))
        write_evaluation(Path(), answers(Tiny(pairs=10, missed=missed), FITTED), FITTED)


def _hang(note: Path) -> None:
    note.parent.mkdir(exist_ok=True)
    note.write_text(str(os.getpid()))
    deadline = time.monotonic() + 300
    while note.exists() and time.monotonic() < deadline:
        time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1])
