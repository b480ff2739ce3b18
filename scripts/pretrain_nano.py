"""Pretrain the nano base on generic scene tasks and write it as package data. Run once; not part of the pipeline.

    python scripts/pretrain_nano.py

Four phases: the vision tower alone with a label for every cell (`dense_vision.py`); single frames, easy ones to begin
with; frames to compare, two at a time to begin with (`dense_clips.py`); then a mix of single frames, clips and two-turn
dialogues. The tower is at rest in the last two. Scenes are drawn afresh for every sample. A checkpoint every five
minutes lets an interrupted run go on. Not deterministic to the byte across machines; the weights are shipped, so nobody
has to make them again.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dense_clips import ClipHeads, clip_loss, joined
from dense_vision import DenseHeads, dense_batch, dense_loss
from generic_scenes import CELL, CHANGES
from generic_tasks import COARSE_COUNT, SIZES, compare, easy_frame, multi_frame, single_frame, two_turn
from torch import nn
from transformers import GenerationConfig, Qwen3VLForConditionalGeneration

from cac.model.nano import build_config, build_processor, nano_folder
from cac.training.collator import IGNORED, collate, training_template

TASKS = {"easy": (easy_frame, 64), "single": (single_frame, 64), "multi": (multi_frame, 16), "two_turn": (two_turn, 12)}
MIX = {"single": 0.1, "compare": 0.25, "multi": 0.2, "two_turn": 0.45}
COMPARED = ((0.15, 2), (0.3, 3), (0.45, 4), (1.0, COARSE_COUNT))  # up to which share of the phase, how many frames
FRAMES_COMPARED = 192  # a batch holds as many clips as have these frames together
PLAIN_COMPARED = 0.1  # share of clips to compare with one thing on plain ground
DENSE_FRAMES = 96
SMALL_STEPS = 700  # the first steps see small frames only: they cost half
SINGLE_SHARE = 0.1  # of the steps of comparing, so that what was learned before is kept
DENSE_SHARE = 0.15  # of the single-frame steps, so that the tower keeps and sharpens what it sees
DECISION_WEIGHT = 1.5  # of the words that say whether a frame is odd and what changes on it
NUMBER_WEIGHT = 1.0  # of the coordinates
FORGED_SHARE = 0.5  # of the dialogues whose flags are drawn at random in the input, and of the flags in them
RATES = {"vision": 2e-3, "single": 1e-3, "compare": 2e-3, "mix": 1e-3}
WARM_UP = 50  # steps at the beginning of each phase
FLAGS = ("clear", "odd")
INITIALIZER_RANGE = 0.08  # about 1/sqrt(width); the 0.02 of large models starves so narrow a vision tower of gradient
EASY_STEPS = 350  # over these the share of easy frames falls from all to none
NEIGHBOURHOOD = 1.5  # coordinates over which the soft half of the loss decays by a factor e
PLACE_SCALE = 0.4  # spread of the place code; the pixels' part has about 0.6
SAVE_SECONDS = 300


@dataclass(frozen=True)
class Schedule:
    """How many steps each phase has, in the order they come."""

    vision: int
    single: int
    compare: int
    mix: int

    @property
    def steps(self) -> int:
        """Number of steps of all phases."""
        return self.vision + self.single + self.compare + self.mix

    def phase(self, step: int) -> tuple[str, int]:
        """Return the phase that a step is in, and its number within it."""
        for name, length in vars(self).items():
            if step < length:
                return name, step
            step -= length
        raise ValueError("the step is after the last phase")


def learning_rate(schedule: Schedule, step: int) -> float:
    """Return the phase's rate after a linear warm-up; over the mix it falls as a cosine to 3 %."""
    name, done = schedule.phase(step)
    rate = RATES[name] * min(1.0, (done + 1) / WARM_UP)
    if name != "mix":
        return rate
    return rate * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * done / schedule.mix)))


def draw_task(schedule: Schedule, step: int, rng: np.random.Generator) -> tuple[str, int]:
    """Draw what a step is about, and of how many frames: the number matters to `compare` only."""
    phase, done = schedule.phase(step)
    if phase == "vision" or (phase == "single" and rng.random() < DENSE_SHARE):
        return "dense", 1
    if phase == "single":
        return ("easy" if rng.random() < 1 - done / EASY_STEPS else "single"), 1
    if phase == "compare" and rng.random() < SINGLE_SHARE:
        return "single", 1
    if phase == "compare":
        share = done / schedule.compare
        return "compare", next(count for end, count in COMPARED if share < end)
    return str(rng.choice(list(MIX), p=list(MIX.values()))), COARSE_COUNT


def draw_samples(name: str, count: int, rng: np.random.Generator) -> list[Any]:
    """Make the samples of one step."""
    if name == "compare":
        return [compare(rng, count, PLAIN_COMPARED) for _ in range(FRAMES_COMPARED // count)]
    task, size = TASKS[name]
    return [task(rng) for _ in range(size)]


def coordinate_ids(tokenizer) -> torch.Tensor:
    """Return the ids of the coordinates 0 to 100 in order."""
    return torch.tensor([tokenizer(f" {n}", add_special_tokens=False)["input_ids"][0] for n in range(101)])


def waves(points: int, frequencies: int) -> torch.Tensor:
    """Return smooth codes of evenly spaced points, slow waves being the strongest: (points, 2 * frequencies)."""
    frequency = torch.arange(1, frequencies + 1)
    angle = torch.linspace(0, 1, points)[:, None] * math.pi * frequency[None, :]
    return torch.cat([torch.cos(angle), torch.sin(angle)], dim=1) / frequency.repeat(2).sqrt()


def make_ordinal(model, number_ids: torch.Tensor) -> None:
    """Give the coordinates embeddings in which neighbours are alike: low-frequency waves along the number line."""
    weight = model.get_input_embeddings().weight
    mixed = waves(len(number_ids), 16) @ torch.randn(32, weight.shape[1])
    with torch.no_grad():
        weight[number_ids] = mixed / mixed.std() * INITIALIZER_RANGE


def make_places(model) -> None:
    """Add a smooth code of its place to every cell of the vision tower's grid, strong enough to be read beside content.

    Fresh position embeddings are a tenth of what the pixels put in, and where a thing is would be learned last.
    """
    grid = model.model.visual.pos_embed.weight
    side = math.isqrt(len(grid))
    line = waves(side, grid.shape[1] // 4)
    both = torch.cat([line[:, None].expand(-1, side, -1), line[None].expand(side, -1, -1)], dim=2).flatten(0, 1)
    mixed = both @ torch.randn(both.shape[1], grid.shape[1])
    with torch.no_grad():
        grid += PLACE_SCALE * mixed / mixed.std()


def answer_loss(model, hidden: torch.Tensor, labels: torch.Tensor, tokenizer) -> torch.Tensor:
    """Cross-entropy over the learned tokens in which half of a coordinate's target is spread over its neighbours.

    A near miss then costs less than a far one, which plain cross-entropy over number tokens does not know. The words
    that decide and the coordinates count once more: the rest follows from them or from the question.
    """
    number_ids, decision_ids = coordinate_ids(tokenizer), word_ids(tokenizer, (*FLAGS, "none", "seen", *CHANGES))
    labels = labels[:, 1:]
    learned = labels != IGNORED
    scores = torch.log_softmax(model.lm_head(hidden[:, :-1][learned]), dim=-1)
    targets = labels[learned]
    loss = -scores.gather(1, targets[:, None])[:, 0]
    is_number = torch.isin(targets, number_ids)
    value = torch.searchsorted(number_ids, targets[is_number])
    soft = -(neighbourhood(NEIGHBOURHOOD)[value] * scores[is_number][:, number_ids]).sum(dim=1)
    loss = loss.masked_scatter(is_number, 0.5 * loss[is_number] + 0.5 * soft)
    weighted = ((torch.isin(targets, decision_ids), DECISION_WEIGHT), (is_number, NUMBER_WEIGHT))
    return loss.mean() + sum(weight * loss[chosen].mean() for chosen, weight in weighted if chosen.any())


def forge_flags(batch: dict, flag_ids: torch.Tensor) -> torch.Tensor:
    """Return the input ids with half of the flags of half of the dialogues drawn at random; the labels stay true.

    The frames that change are a run, so a flag could be guessed from those before it, without a look at the images.
    """
    ids = batch["input_ids"].clone()
    forged = torch.isin(batch["labels"], flag_ids) & (torch.rand(ids.shape) < FORGED_SHARE)
    forged &= torch.rand(len(ids), 1) < FORGED_SHARE
    ids[forged] = flag_ids[torch.randint(len(flag_ids), (int(forged.sum()),))]
    return ids


def word_ids(tokenizer, words: Sequence[str]) -> torch.Tensor:
    """Return the ids of words as they stand inside a line, after a space."""
    return torch.tensor([tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0] for word in words])


def main() -> None:
    """Run all phases and save the base."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for phase, steps in (("vision", 2000), ("single", 800), ("compare", 1500), ("mix", 2000)):
        parser.add_argument(f"--{phase}-steps", type=int, default=steps)
    parser.add_argument("--out", type=Path, default=nano_folder(), help="where the base is written")
    parser.add_argument("--base", type=Path, help="begin with these weights instead of fresh ones")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scratch", type=Path, default=Path(".scratch/pretrain"))
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    args.scratch.mkdir(parents=True, exist_ok=True)

    processor = build_processor()
    model = fresh_model(processor) if args.base is None else Qwen3VLForConditionalGeneration.from_pretrained(args.base)
    vision = model.config.vision_config
    pixels = 3 * vision.temporal_patch_size * CELL**2
    heads = nn.ModuleDict(
        {"frames": DenseHeads(vision.out_hidden_size, pixels), "clips": ClipHeads(vision.out_hidden_size)}
    )
    optimizer = torch.optim.AdamW([*model.parameters(), *heads.parameters()], betas=(0.9, 0.98), weight_decay=0.01)
    state_file = args.scratch / "state.pt"
    start = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        heads.load_state_dict(state["heads"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
        print(f"going on at step {start}", flush=True)
    schedule = Schedule(args.vision_steps, args.single_steps, args.compare_steps, args.mix_steps)
    train((model, heads, processor), optimizer, (schedule, start), args)
    save_base(model, processor, args.out)


def fresh_model(processor):
    """Return the nano with fresh weights, its number words and its grid of places in order."""
    model = Qwen3VLForConditionalGeneration(build_config(processor.tokenizer, INITIALIZER_RANGE))
    make_ordinal(model, coordinate_ids(processor.tokenizer))
    make_places(model)
    return model


def neighbourhood(width: float) -> torch.Tensor:
    """Return softened targets of the coordinates, decaying by a factor e over `width`: (101, 101)."""
    line = torch.arange(101)
    return torch.softmax(-(line[:, None] - line[None, :]).abs() / width, dim=1)


def train(parts, optimizer, plan: tuple[Schedule, int], args) -> None:
    """Train from a step to the end of all phases, logging to `log.jsonl`."""
    model, heads, processor = parts
    schedule, start = plan
    template = training_template(processor)
    saved = began = time.time()
    log = (args.scratch / "log.jsonl").open("a")
    for step in range(start, schedule.steps):
        rng = np.random.default_rng([args.seed, step])
        torch.manual_seed(args.seed * 1_000_003 + step)
        phase, done = schedule.phase(step)
        model.model.visual.requires_grad_(phase in ("vision", "single"))
        name, count = draw_task(schedule, step, rng)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(schedule, step)
        if name == "dense":
            loss = vision_loss(parts, rng, done if phase == "vision" else None)
        else:
            loss = language_loss(parts, template, draw_samples(name, count, rng))
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*model.parameters(), *heads.parameters()], 1.0)
        optimizer.step()
        optimizer.zero_grad()
        line = {
            "step": step,
            "task": name,
            "loss": round(loss.item(), 4),
            "minutes": round((time.time() - began) / 60, 2),
        }
        log.write(json.dumps(line) + "\n")
        if step % 20 == 0:
            log.flush()
            print(line, flush=True)
        if time.time() - saved > SAVE_SECONDS or step == schedule.steps - 1:
            saved = time.time()
            save_state(args.scratch / "state.pt", (model, heads, optimizer), step + 1)
            save_base(model, processor, args.scratch / "base")


def vision_loss(parts, rng: np.random.Generator, step: int | None) -> torch.Tensor:
    """Return the dense loss of fresh frames; `step` sets how easy they are, None is for after the tower's own phase."""
    model, heads, processor = parts
    sizes = SIZES[:1] if step is not None and step < SMALL_STEPS else SIZES
    plain_share = 0.0 if step is None else max(0.0, 1 - step / EASY_STEPS)
    batch = dense_batch(processor, rng, DENSE_FRAMES, plain_share, sizes)
    return dense_loss(model.model.visual, heads["frames"], batch, neighbourhood(NEIGHBOURHOOD))


def language_loss(parts, template: str, samples: list[Any]) -> torch.Tensor:
    """Return the loss of the answers and, on clips, of the dense labels of their frames."""
    model, heads, processor = parts
    tokenizer = processor.tokenizer
    batch = collate(processor, template, samples)
    labels = batch["labels"]
    inputs = {key: value for key, value in batch.items() if key != "labels"}
    inputs["input_ids"] = forge_flags(batch, word_ids(tokenizer, FLAGS))
    output = model.model(**inputs, output_hidden_states=True)
    loss = answer_loss(model, output.last_hidden_state, labels, tokenizer)
    if samples[0].labels is None:
        return loss
    closing = tokenizer.convert_tokens_to_ids("<|vision_end|>")
    places = tuple(batch["input_ids"] == token for token in (processor.image_token_id, closing))
    dense = joined([sample.labels for sample in samples])
    return loss + clip_loss(heads["clips"], output.hidden_states, places, dense, neighbourhood(NEIGHBOURHOOD))


def save_state(path: Path, trained, step: int) -> None:
    """Write what an interrupted run goes on from."""
    names = ("model", "heads", "optimizer")
    torch.save({name: part.state_dict() for name, part in zip(names, trained, strict=True)} | {"step": step}, path)


def save_base(model, processor, out: Path) -> None:
    """Write the base as safetensors with its processor and generation settings."""
    tokenizer = processor.tokenizer
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    model.save_pretrained(out)
    processor.save_pretrained(out)


if __name__ == "__main__":
    main()
