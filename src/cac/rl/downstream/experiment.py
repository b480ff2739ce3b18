"""One run of the experiment: an untrained generator is measured, trained with a seed, and measured again.

A finished run is one JSON file, with the weights of the trained generator beside it. The file records everything the
run depends on, so the run is never repeated. An interrupted run starts again from the beginning. What several runs have
in common is in `summary.py`.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cac.errors import CacError
from cac.registry.pinned import PinnedModel
from cac.rl.best_of_n import rank
from cac.rl.downstream.evaluation import Columns, Sample, sample_clips
from cac.rl.downstream.grpo import REWARD, RandomStreams, Training, train_generator
from cac.rl.downstream.reward import DownstreamReward, usual_motions

if TYPE_CHECKING:
    from cac.rl.downstream.generator import ClipGenerator

VERSION = 3  # of what a run does; changing it repeats every run
WITH_MOTION, WITHOUT_MOTION = "motion", "no_motion"
MOTION_WEIGHTS = {WITH_MOTION: 1.0, WITHOUT_MOTION: 0.0}
_TRAINING, _REFERENCE = 1, 2  # in seed keys

Result = dict[str, Any]
Log = Callable[[str], None]


@dataclass(frozen=True)
class Setup:
    """The settings that all runs of an experiment share.

    Attributes:
        training: how the generator is trained.
        prompts: number of prompts evaluated, with `candidates` clips each.
        candidates: the N of best-of-N; at least 2.
        reference_clips: number of untrained clips of each pace that the usual motion is measured on.
    """

    training: Training = field(default_factory=Training)
    prompts: int = 60
    candidates: int = 4
    reference_clips: int = 40

    def __post_init__(self) -> None:
        if self.prompts < 1 or self.candidates < 2 or self.reference_clips < 1:
            raise CacError(f"{self}: needs at least one prompt, two candidates and one reference clip.")


@dataclass(frozen=True)
class Run:
    """One run: with the motion term or without (`MOTION_WEIGHTS`), and its seed."""

    arm: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its files."""
        return f"{self.arm}-{self.seed}"


def load_result(run: Run, setup: Setup, model: Mapping[str, str], folder: Path) -> Result | None:
    """Return the stored result of a run with this setup and reward model (`identity`), or None."""
    file = folder / f"{run.name}.json"
    if not file.is_file() or not weights_file(run, folder).is_file():
        return None
    result = json.loads(file.read_text(encoding="utf-8"))
    return result if result["made_of"] == _made_of(run, setup, model) else None


def run_experiment(run: Run, setup: Setup, pinned: PinnedModel, folder: Path, log: Log) -> Result:
    """Carry out a run, or load its stored result; `log` is called with a line per update."""
    model = identity(pinned)
    result = load_result(run, setup, model, folder)
    if result is not None:
        log(f"{run.name}: already finished")
        return result
    from cac.rl.downstream.generator import ClipGenerator

    generator = ClipGenerator(run.seed)
    judge = DownstreamReward(pinned, usual_motions(setup.reference_clips, _REFERENCE), MOTION_WEIGHTS[run.arm])
    before = sample_clips(generator, setup.prompts, setup.candidates, run.seed)
    best = _best(before, judge) if run.arm == WITH_MOTION else None
    streams = RandomStreams.of(run.seed, _TRAINING)
    history = train_generator(
        generator, judge, setup.training, streams, lambda entry: log(f"{run.name}: {_line(entry)}")
    )
    after = sample_clips(generator, setup.prompts, setup.candidates, run.seed)
    result = {
        "made_of": _made_of(run, setup, model),
        "history": history,
        "before": _measured(before),
        "after": _measured(after),
        "best": best,
    }
    _write(result, generator, run, folder)
    return result


def identity(pinned: PinnedModel) -> dict[str, str]:
    """Return a version's name and the hash of its weights and calibration, which is the same in every registry."""
    import torch

    digest = hashlib.sha256(repr(pinned.model.calibration).encode())
    for name, tensor in sorted(pinned.model.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return {"source": pinned.source, "sha256": digest.hexdigest()}


def _made_of(run: Run, setup: Setup, model: Mapping[str, str]) -> dict[str, Any]:
    return {"version": VERSION, "run": asdict(run), "setup": asdict(setup), "reward_model": dict(model)}


def _measured(sample: Sample) -> dict[str, Any]:
    return {"columns": sample.columns(), "leaves": sample.leaves()}


def _best(sample: Sample, judge: DownstreamReward) -> list[int]:
    """Return the index of the candidate with the highest reward for each prompt."""
    flat = [clip for row in sample.clips for clip in row]
    rewards = iter(judge.evaluate(flat, [video for row in sample.videos for video in row]))
    return [rank([next(rewards) for _ in row])[0] for row in sample.clips]


def select_candidates(columns: Columns, best: list[int]) -> Columns:
    """Return the measures of the chosen candidates alone, one per prompt."""
    return {name: [[row[i]] for row, i in zip(rows, best, strict=True)] for name, rows in columns.items()}


def _line(entry: dict[str, float]) -> str:
    numbers = {"reward": REWARD, "score": "score", "motion": "motion", "truly anomalous": "anomalous"}
    values = ", ".join(f"{label} {entry[name]:.3f}" for label, name in numbers.items() if name in entry)
    suspected = ", HACKING SUSPECTED" if entry.get("hacking_suspected") else ""
    return f"update {entry['step']:.0f}: {values}{suspected}"


def _write(result: Result, generator: "ClipGenerator", run: Run, folder: Path) -> None:
    """Write the weights, then the result; the run is finished once the result is there."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(generator.state_dict(), weights_file(run, folder))
    partial = folder / f"{run.name}.partial"
    partial.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(folder / f"{run.name}.json")


def weights_file(run: Run, folder: Path) -> Path:
    """Return the file of a run's trained generator."""
    return folder / f"{run.name}.safetensors"


def load_generator(run: Run, folder: Path) -> "ClipGenerator":
    """Load the trained generator of a finished run."""
    from safetensors.torch import load_file

    from cac.rl.downstream.generator import ClipGenerator

    generator = ClipGenerator(run.seed)
    generator.load_state_dict(load_file(weights_file(run, folder)))
    return generator
