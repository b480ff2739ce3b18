"""A stage's command that costs nothing but leaves what can be registered: a real adapter, and invented answers that get
better with the number of train clips. CAC_TEST_HANG names a stage that never ends."""

import os
import shutil
import sys
import time
from pathlib import Path

import cheap_stage

from benchmarks.tiny_versions import Tiny, answers, write_evaluation
from cac.annotations import read_clips
from cac.evaluation.calibration import Calibration

FITTED = Calibration(1.5, 0.2)


def main(name: str) -> None:
    if os.environ.get("CAC_TEST_HANG") == name:
        Path(".scratch").mkdir(exist_ok=True)
        Path(".scratch/hanging").write_text(str(os.getpid()))
        time.sleep(300)
    cheap_stage.main(name)
    with Path(os.environ["CAC_TEST_RAN"]).open("a") as log:
        log.write(f"{name}\n")
    Path("ran.log").unlink()
    if name == "two_turn_grpo":
        shutil.copytree(os.environ["CAC_TEST_ADAPTER"], "models/two_turn_grpo", dirs_exist_ok=True)
    if name == "evaluate":
        missed = range(1 - min(1, len(read_clips(Path("data"), "train"))))
        write_evaluation(Path(), answers(Tiny(pairs=10, missed=missed), FITTED), FITTED)


if __name__ == "__main__":
    main(sys.argv[1])
