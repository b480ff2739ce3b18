"""Pretrain the nano base on generic scene tasks and write it as package data. Run once; not part of the pipeline.

    python -m scripts.pretrain_nano
    python -m scripts.pretrain_nano --device cuda --workers 15 --scale 8 --repeat 4    # on a GPU

Four phases: the vision tower alone with a label for every cell (`dense_vision.py`); single frames, easy ones first;
comparing frames, two at a time at first (`dense_clips.py`); then a mix of all tasks. The tower is frozen while frames
are compared. Every batch has new scenes (`pretrain_batches.py`). A GPU trains faster than the cores can render, so each
batch is used `--repeat` times there, at random later steps. An interrupted run resumes from a checkpoint, written every
few minutes. The bytes differ between machines; the weights are shipped, so nobody needs to run this again.
"""

import argparse
import json
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import GenerationConfig, Qwen3VLForConditionalGeneration

from cac.model.nano import build_config, build_processor, nano_folder
from cac.model.patches.transformers_vision_attention import batch_vision_attention
from cac.training.collator import IGNORE_INDEX
from scripts.dense_clips import ClipHeads, clip_loss
from scripts.dense_vision import DenseHeads, dense_loss
from scripts.generic_scenes import CELL, SUDDEN
from scripts.pretrain_batches import Batch, Schedule, StepBatches, load
from scripts.sorted_vision import encode, from_bytes

DECISION_WEIGHT = 1.5  # of the words that say whether a frame is odd and what changes on it
NUMBER_WEIGHT = 1.0  # of the coordinates
FORGED_SHARE = 0.5  # of the dialogues whose flags are drawn at random in the input, and of the flags in them
RATES = {"vision": 2e-3, "single": 1e-3, "compare": 2e-3, "mix": 1e-3}
WARM_UP = 50  # steps at the beginning of each phase
FLAGS = ("clear", "odd")
INITIALIZER_RANGE = 0.08  # about 1/sqrt(width); the 0.02 of large models starves so narrow a vision tower of gradient
NEIGHBOURHOOD = 1.5  # coordinates over which the soft half of the loss decays by a factor e
PLACE_SCALE = 0.4  # spread of the place code; the pixels' part has about 0.6
KEPT_BATCHES = 400  # the last so many are those that are learned from again
SAVE_SECONDS = 120
LOG_EVERY = 20  # updates


@dataclass
class Learner:
    """All that learns, and how.

    `heads` are thrown away in the end; `rate_scale` multiplies all rates; `softened` holds the soft target of each
    coordinate; the ids are those of the coordinates, of the words that decide, and of the flags.
    """

    model: Any
    heads: nn.ModuleDict
    processor: Any
    optimizer: Any
    device: torch.device
    rate_scale: float
    softened: torch.Tensor
    number_ids: torch.Tensor
    decision_ids: torch.Tensor
    flag_ids: torch.Tensor

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters of model and heads."""
        return [*self.model.parameters(), *self.heads.parameters()]


def learning_rate(schedule: Schedule, step: int) -> float:
    """Return the phase's rate after a linear warm-up; over the mix it falls as a cosine to 1 %."""
    name, done = schedule.phase(step)
    rate = RATES[name] * min(1.0, (done + 1) / WARM_UP)
    if name != "mix":
        return rate
    return rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done / schedule.mix)))


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


def answer_loss(learner: Learner, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy over the learned tokens in which half of a coordinate's target is spread over its neighbours.

    A near miss then costs less than a far one, which plain cross-entropy over number tokens does not know. The words
    that decide and the coordinates count once more: the rest follows from them or from the question.
    """
    number_ids = learner.number_ids
    labels = labels[:, 1:]
    learned = labels != IGNORE_INDEX
    scores = torch.log_softmax(learner.model.lm_head(hidden[:, :-1][learned]), dim=-1)
    targets = labels[learned]
    loss = -scores.gather(1, targets[:, None])[:, 0]
    is_number = torch.isin(targets, number_ids)
    value = torch.searchsorted(number_ids, targets[is_number])
    soft = -(learner.softened[value] * scores[is_number][:, number_ids]).sum(dim=1)
    loss = loss.masked_scatter(is_number, 0.5 * loss[is_number] + 0.5 * soft)
    weighted = ((torch.isin(targets, learner.decision_ids), DECISION_WEIGHT), (is_number, NUMBER_WEIGHT))
    return loss.mean() + sum(weight * loss[chosen].mean() for chosen, weight in weighted if chosen.any())


def forge_flags(batch: Batch, flag_ids: torch.Tensor) -> torch.Tensor:
    """Return the input ids with half of the flags of half of the dialogues drawn at random; the labels stay true.

    The frames that change are a run, so a flag could be guessed from those before it, without a look at the images.
    """
    ids = batch.tensors["input_ids"].clone()
    chance = torch.rand(ids.shape, device=ids.device) < FORGED_SHARE
    forged = torch.isin(batch.tensors["labels"], flag_ids) & chance
    forged &= torch.rand(len(ids), 1, device=ids.device) < FORGED_SHARE
    drawn = flag_ids[torch.randint(len(flag_ids), ids.shape, device=ids.device)]
    return torch.where(forged, drawn, ids)


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
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches; 0: the training process")
    parser.add_argument("--scale", type=int, default=1, help="by how much batches are larger")
    parser.add_argument("--repeat", type=int, default=1, help="how often each batch is learned from")
    parser.add_argument("--rate-scale", type=float, default=1.0)
    parser.add_argument("--scratch", type=Path, default=Path(".scratch/pretrain"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.scratch.mkdir(parents=True, exist_ok=True)
    state = saved_state(args.scratch)
    schedule = Schedule(args.vision_steps, args.single_steps, args.compare_steps, args.mix_steps)
    batches = iter(load(StepBatches(schedule, args.seed, args.scale), state.get("step", 0), args.workers))
    learner = make_learner(args, state)
    train(learner, schedule, batches, args, state.get("step", 0))
    save_base(learner, args.out)


def saved_state(scratch: Path) -> dict[str, Any]:
    """Return what an interrupted run left, or nothing."""
    path = scratch / "state.pt"
    return torch.load(path, weights_only=True, map_location="cpu") if path.exists() else {}


def make_learner(args, state: dict[str, Any]) -> Learner:
    """Return the model, fresh, of `--base` or as an interrupted run left it, ready to learn."""
    torch.manual_seed(args.seed)
    processor = build_processor()
    model = fresh_model(processor) if args.base is None else Qwen3VLForConditionalGeneration.from_pretrained(args.base)
    batch_vision_attention(model)
    vision = model.config.vision_config
    pixels = 3 * vision.temporal_patch_size * CELL**2
    heads = nn.ModuleDict(
        {"frames": DenseHeads(vision.out_hidden_size, pixels), "clips": ClipHeads(vision.out_hidden_size)}
    )
    model.to(args.device)
    heads.to(args.device)
    parameters = [*model.parameters(), *heads.parameters()]
    fused = args.device.type == "cuda"
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=0.01, fused=fused)
    if state:
        model.load_state_dict(state["model"])
        heads.load_state_dict(state["heads"])
        optimizer.load_state_dict(state["optimizer"])
        print(f"resuming at step {state['step']}", flush=True)
    tokenizer = processor.tokenizer
    decisions = word_ids(tokenizer, (*FLAGS, "none", "seen", "then", *SUDDEN))
    words = (neighbourhood(NEIGHBOURHOOD), coordinate_ids(tokenizer), decisions, word_ids(tokenizer, FLAGS))
    on_device = (tensor.to(args.device) for tensor in words)
    return Learner(model, heads, processor, optimizer, args.device, args.rate_scale, *on_device)


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


def train(learner: Learner, schedule: Schedule, batches, args, start: int) -> None:
    """Train from a step to the end of all phases, logging to `log.jsonl`."""
    saved = began = time.time()
    kept: deque[Batch] = deque(maxlen=KEPT_BATCHES if args.repeat > 1 else 1)
    log = (args.scratch / "log.jsonl").open("a")
    for step, made in enumerate(batches, start):
        rng = np.random.default_rng([args.seed, step, 1])
        torch.manual_seed(args.seed * 1_000_003 + step)
        phase, done = schedule.phase(step)
        if done == 0:
            kept.clear()  # what an earlier phase was about is not learned again in the next
        learner.model.model.visual.requires_grad_(phase != "compare")
        for group in learner.optimizer.param_groups:
            group["lr"] = learning_rate(schedule, step) * learner.rate_scale
        batch = made.to(learner.device)
        kept.append(batch)
        for use in range(args.repeat):
            loss = update(learner, batch if use == 0 else kept[int(rng.integers(len(kept)))])
            if use == 0 and step % max(1, LOG_EVERY // args.repeat) == 0:
                minutes = round((time.time() - began) / 60, 3)
                line = json.dumps({"step": step, "task": batch.task, "loss": round(loss.item(), 4), "minutes": minutes})
                print(line, file=log, flush=True)
                print(line, flush=True)
        if time.time() - saved > SAVE_SECONDS or step == schedule.steps - 1:
            saved = time.time()
            save_state(args.scratch / "state.pt", learner, step + 1)
            save_base(learner, args.scratch / "base")


def update(learner: Learner, batch: Batch) -> torch.Tensor:
    """Learn from one batch; returns its loss."""
    with torch.autocast(learner.device.type, torch.bfloat16, enabled=learner.device.type == "cuda"):
        loss = vision_loss(learner, batch) if batch.task == "dense" else language_loss(learner, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(learner.parameters, 1.0)
    learner.optimizer.step()
    learner.optimizer.zero_grad()
    return loss.detach()


def vision_loss(learner: Learner, batch: Batch) -> torch.Tensor:
    """Return the dense loss of frames that the tower alone looks at."""
    pixels = from_bytes(batch.tensors["pixels"])
    tokens = encode(learner.model.model.visual, pixels, batch.blocks).pooler_output
    return dense_loss(tokens, pixels.view(len(tokens), -1), learner.heads["frames"], batch.tensors, learner.softened)


def language_loss(learner: Learner, batch: Batch) -> torch.Tensor:
    """Return the loss of the answers and, on clips, of the dense labels of their frames."""
    tokenizer, tensors = learner.processor.tokenizer, batch.tensors
    output = read(learner, batch, forge_flags(batch, learner.flag_ids))
    loss = answer_loss(learner, output.last_hidden_state, tensors["labels"])
    if batch.labels is None:
        return loss
    closing = tokenizer.convert_tokens_to_ids("<|vision_end|>")
    places = tuple(tensors["input_ids"] == token for token in (learner.processor.image_token_id, closing))
    return loss + clip_loss(learner.heads["clips"], output.hidden_states, places, batch.labels, learner.softened)


def read(learner: Learner, batch: Batch, ids: torch.Tensor) -> Any:
    """Return the model's hidden states of a batch's dialogues with these input ids."""
    seen = encode(learner.model.model.visual, from_bytes(batch.tensors["pixels"]), batch.blocks)
    order = batch.tensors["tokens"]
    deep = [(features[order],) for features in seen.deepstack_features]
    images = SimpleNamespace(pooler_output=(seen.pooler_output[order],), deepstack_features=deep)
    return learner.model.model(
        input_ids=ids,
        position_ids=batch.tensors["position_ids"],
        mm_encoder_outputs={"image": images},
        output_hidden_states=True,
        use_cache=False,
    )


def save_state(path: Path, learner: Learner, step: int) -> None:
    """Write the state that an interrupted run resumes from."""
    names = ("model", "heads", "optimizer")
    torch.save({name: getattr(learner, name).state_dict() for name in names} | {"step": step}, path)


def save_base(learner: Learner, out: Path) -> None:
    """Write the base as safetensors with its processor and generation settings."""
    tokenizer = learner.processor.tokenizer
    settings = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    learner.model.generation_config = settings
    learner.model.save_pretrained(out)
    learner.processor.save_pretrained(out)


if __name__ == "__main__":
    main()
