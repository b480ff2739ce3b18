"""Run in a process that a test kills: evaluate on Artifact-Bench with a judge that takes its time.

Arguments: the benchmark's folder, the out folder, seconds a batch, and where to write how many videos were judged.
"""

import sys
from pathlib import Path

from helpers.benchmark_cases import evaluate
from helpers.judges import BrightIsClean

if __name__ == "__main__":
    folder, out, seconds, counted = sys.argv[1:]
    judge = BrightIsClean(seconds=float(seconds))
    evaluate("artifact-bench", Path(folder), out=Path(out), judge=judge, batch_size=2)
    Path(counted).write_text(str(sum(judge.batches)))
