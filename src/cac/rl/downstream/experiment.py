"""One run of the experiment: an untrained generator, measured, trained with a seed, and measured again.

A run that is finished is one JSON file, with the trained generator's weights beside it, and is never made twice: its
file names everything it follows from. An interrupted run begins anew. Left out: what several runs have in common
(`summary.py`).
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cac.errors import CacError
from cac.registry.pinned import PinnedModel
from cac.rl.best_of_n import ranked
from cac.rl.downstream.judged import Judge, usual_motions
from cac.rl.downstream.measure import Columns, Sample, draw
from cac.rl.downstream.optimise import REWARD, Chance, Training, optimise

if TYPE_CHECKING:
    from cac.rl.downstream.generator import ClipGenerator

VERSION = 3  # of what a run does; another number makes every run anew
WITH_MOTION, WITHOUT_MOTION = "motion", "no_motion"
MOTION_WEIGHTS = {WITH_MOTION: 1.0, WITHOUT_MOTION: 0.0}
_TRAINING, _REFERENCE = 1, 2  # in keys of chance

Result = dict[str, Any]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Setup:
    """What every run of an experiment shares.

    Attributes:
        training: how the generator is trained.
        prompts: that are evaluated, with `candidates` clips of each.
        candidates: the N of best-of-N; at least 2.
        reference_clips: of each pace, to measure the untrained generator's motion on.
    """

    training: Training = field(default_factory=Training)
    prompts: int = 60
    candidates: int = 4
    reference_clips: int = 40

    def __post_init__(self) -> None:
        if self.prompts < 1 or self.candidates < 2 or self.reference_clips < 1:
            raise CacError(f"{self}: at least one prompt, two candidates and one clip for the reference.")


@dataclass(frozen=True)
class Run:
    """One run: with the motion term or without (`MOTION_WEIGHTS`), and its seed."""

    arm: str
    seed: int

    @property
    def name(self) -> str:
        """As files are called."""
        return f"{self.arm}-{self.seed}"


def finished(run: Run, setup: Setup, model: Mapping[str, str], folder: Path) -> Result | None:
    """Return the result of a run that was made with this setup and reward model (`identity`), or None."""
    file = folder / f"{run.name}.json"
    if not file.is_file() or not weights_file(run, folder).is_file():
        return None
    result = json.loads(file.read_text(encoding="utf-8"))
    return result if result["made_of"] == _made_of(run, setup, model) else None


def carry_out(run: Run, setup: Setup, pinned: PinnedModel, folder: Path, tell: Tell) -> Result:
    """Make a run, or read it if it was made; `tell` hears a line an update."""
    model = identity(pinned)
    result = finished(run, setup, model, folder)
    if result is not None:
        tell(f"{run.name}: made before")
        return result
    from cac.rl.downstream.generator import ClipGenerator

    generator = ClipGenerator(run.seed)
    judge = Judge(pinned, usual_motions(setup.reference_clips, _REFERENCE), MOTION_WEIGHTS[run.arm])
    before = draw(generator, setup.prompts, setup.candidates, run.seed)
    best = _best(before, judge) if run.arm == WITH_MOTION else None
    chance = Chance.of(run.seed, _TRAINING)
    history = optimise(generator, judge, setup.training, chance, lambda entry: tell(f"{run.name}: {_line(entry)}"))
    after = draw(generator, setup.prompts, setup.candidates, run.seed)
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
    """Return a version's name and the hash of its weights and calibration: another store numbers other versions."""
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


def _best(sample: Sample, judge: Judge) -> list[int]:
    """Return the position of the best candidate of each prompt, as the reward has it."""
    flat = [clip for row in sample.clips for clip in row]
    rewards = iter(judge.without_record(flat, [video for row in sample.videos for video in row]))
    return [ranked([next(rewards) for _ in row])[0] for row in sample.clips]


def picked(columns: Columns, best: list[int]) -> Columns:
    """Return what was measured of the best candidates alone, one a prompt."""
    return {name: [[row[i]] for row, i in zip(rows, best, strict=True)] for name, rows in columns.items()}


def _line(entry: dict[str, float]) -> str:
    numbers = {"reward": REWARD, "score": "score", "motion": "motion", "truly anomalous": "anomalous"}
    told = ", ".join(f"{said} {entry[name]:.3f}" for said, name in numbers.items() if name in entry)
    suspected = ", HACKING SUSPECTED" if entry.get("hacking_suspected") else ""
    return f"update {entry['step']:.0f}: {told}{suspected}"


def _write(result: Result, generator: "ClipGenerator", run: Run, folder: Path) -> None:
    """Write weights, then the result, which makes the run a finished one."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(generator.state_dict(), weights_file(run, folder))
    partial = folder / f"{run.name}.partial"
    partial.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(folder / f"{run.name}.json")


def weights_file(run: Run, folder: Path) -> Path:
    """Return where a run's trained generator lies."""
    return folder / f"{run.name}.safetensors"


def trained(run: Run, folder: Path) -> "ClipGenerator":
    """Load the generator that a finished run has trained."""
    from safetensors.torch import load_file

    from cac.rl.downstream.generator import ClipGenerator

    generator = ClipGenerator(run.seed)
    generator.load_state_dict(load_file(weights_file(run, folder)))
    return generator
