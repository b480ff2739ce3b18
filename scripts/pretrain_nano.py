"""Pretrain the nano base on generic scene tasks and write it as package data. Run once; not part of the pipeline.

    python scripts/pretrain_nano.py

First the vision tower alone with a label for every cell (`dense_vision.py`), then single frames, easy ones to begin
with, then a mix of single frames, multi-frame clips and two-turn dialogues, with a label for every image token of what
has changed on it. Scenes are drawn afresh for every sample. A checkpoint every five minutes lets an interrupted run go
on. Not deterministic to the byte across machines; the weights are shipped, so nobody has to make them again.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from dense_vision import DenseHeads, dense_batch, dense_loss
from generic_tasks import CELL, NOTHING, SIZES, easy_frame, multi_frame, single_frame, two_turn
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, Qwen3VLForConditionalGeneration

from cac.model.nano import build_config, build_processor, nano_folder
from cac.training.collator import IGNORED, collate, training_template

TASKS = {"easy": (easy_frame, 64), "single": (single_frame, 64), "multi": (multi_frame, 16), "two_turn": (two_turn, 12)}
MIX = {"single": 0.15, "multi": 0.35, "two_turn": 0.5}
DENSE_FRAMES = 96
SMALL_STEPS = 700  # the first steps see small frames only: they cost half
DENSE_SHARE = 0.15  # of the later steps, so that the tower keeps and sharpens what it sees
CHANGE_WEIGHT = 1.0
PEAK_RATE = 1e-3
INITIALIZER_RANGE = 0.08  # about 1/sqrt(width); the 0.02 of large models starves so narrow a vision tower of gradient
EASY_STEPS = 350  # over these the share of easy frames falls from all to none
NEIGHBOURHOOD = 1.5  # coordinates over which the soft half of the loss decays by a factor e
PLACE_SCALE = 0.4  # spread of the place code; the pixels' part has about 0.6
SAVE_SECONDS = 300


def learning_rate(step: int, vision_steps: int, steps: int) -> float:
    """Linear warm-up over 50 steps; double the rate for vision alone; a cosine down to 3 % over the last 60 %."""
    rate = 2 * PEAK_RATE if step < vision_steps else PEAK_RATE
    if step < 50:
        return rate * (step + 1) / 50
    fraction = max(0.0, (step - 0.4 * steps) / (0.6 * steps))
    return rate * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * fraction)))


def task_name(step: int, single_steps: int, rng: np.random.Generator) -> str:
    """Draw what a step is about: dense labels alone (step < 0), then easy and single frames, then the mix."""
    if step < 0 or rng.random() < DENSE_SHARE:
        return "dense"
    if step >= single_steps:
        return str(rng.choice(list(MIX), p=list(MIX.values())))
    return "easy" if rng.random() < 1 - step / EASY_STEPS else "single"


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


def ordinal_loss(model, hidden: torch.Tensor, batch: dict, number_ids: torch.Tensor) -> torch.Tensor:
    """Cross-entropy over the learned tokens in which half of a coordinate's target is spread over its neighbours.

    A near miss then costs less than a far one, which plain cross-entropy over number tokens does not know.
    """
    labels = batch["labels"][:, 1:]
    learned = labels != IGNORED
    scores = torch.log_softmax(model.lm_head(hidden[:, :-1][learned]), dim=-1)
    targets = labels[learned]
    loss = -scores.gather(1, targets[:, None])[:, 0]
    is_number = torch.isin(targets, number_ids)
    value = torch.searchsorted(number_ids, targets[is_number])
    soft = -(neighbourhood(NEIGHBOURHOOD)[value] * scores[is_number][:, number_ids]).sum(dim=1)
    loss = loss.masked_scatter(is_number, 0.5 * loss[is_number] + 0.5 * soft)
    return loss.mean()


def main() -> None:
    """Run both phases and save the base."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--vision-steps", type=int, default=2000)
    parser.add_argument("--single-steps", type=int, default=800)
    parser.add_argument("--mixed-steps", type=int, default=1800)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scratch", type=Path, default=Path(".scratch/pretrain"))
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    args.scratch.mkdir(parents=True, exist_ok=True)

    processor = build_processor()
    model = Qwen3VLForConditionalGeneration(build_config(processor.tokenizer, INITIALIZER_RANGE))
    make_ordinal(model, coordinate_ids(processor.tokenizer))
    make_places(model)
    visual = model.model.visual
    heads = DenseHeads(visual.config.out_hidden_size, 3 * visual.config.temporal_patch_size * CELL**2)
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
    train((model, heads, processor), optimizer, args, start)
    save_base(model, processor, nano_folder())


def neighbourhood(width: float) -> torch.Tensor:
    """Return softened targets of the coordinates, decaying by a factor e over `width`: (101, 101)."""
    line = torch.arange(101)
    return torch.softmax(-(line[:, None] - line[None, :]).abs() / width, dim=1)


def train(parts, optimizer, args, start: int) -> None:
    """Train from step `start` to the end of all phases, logging to `log.jsonl`."""
    model, heads, processor = parts
    template = training_template(processor)
    steps = args.vision_steps + args.single_steps + args.mixed_steps
    saved = began = time.time()
    log = (args.scratch / "log.jsonl").open("a")
    for step in range(start, steps):
        rng = np.random.default_rng([args.seed, step])
        name = task_name(step - args.vision_steps, args.single_steps, rng)
        rate = learning_rate(step, args.vision_steps, steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        if name == "dense":
            loss = vision_loss(parts, rng, step if step < args.vision_steps else None)
        else:
            loss = language_loss(parts, template, name, rng)
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
        if time.time() - saved > SAVE_SECONDS or step == steps - 1:
            saved = time.time()
            save_state(args.scratch / "state.pt", (model, heads, optimizer), step + 1)
            save_base(model, processor, args.scratch / "base")


def vision_loss(parts, rng: np.random.Generator, step: int | None) -> torch.Tensor:
    """Return the dense loss of fresh frames; `step` sets how easy they are, None is for after the tower's own phase."""
    model, heads, processor = parts
    sizes = SIZES[:1] if step is not None and step < SMALL_STEPS else SIZES
    plain_share = 0.0 if step is None else max(0.0, 1 - step / EASY_STEPS)
    batch = dense_batch(processor, rng, DENSE_FRAMES, plain_share, sizes)
    return dense_loss(model.model.visual, heads, batch, neighbourhood(NEIGHBOURHOOD))


def language_loss(parts, template: str, name: str, rng: np.random.Generator) -> torch.Tensor:
    """Return the loss of the answers to fresh samples of a task and, on clips, of what has changed in each cell."""
    model, heads, processor = parts
    task, size = TASKS[name]
    samples = [task(rng) for _ in range(size)]
    batch = collate(processor, template, samples)
    inputs = {key: value for key, value in batch.items() if key != "labels"}
    output = model.model(**inputs, output_hidden_states=True)
    loss = ordinal_loss(model, output.last_hidden_state, batch, coordinate_ids(processor.tokenizer))
    if samples[0].cells is None:
        return loss
    # Before the last layer, so that the last one can still read it off the images.
    tokens = output.hidden_states[-2][batch["input_ids"] == processor.image_token_id]
    return loss + CHANGE_WEIGHT * change_loss(heads.change(tokens), samples)


def change_loss(scores: torch.Tensor, samples: list) -> torch.Tensor:
    """Cross-entropy of what has changed in each cell, over the cells that something is in."""
    labels = torch.from_numpy(np.concatenate([sample.cells for sample in samples]))
    return cross_entropy(scores, labels, ignore_index=NOTHING)


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
