"""Probe a nano base on generic scenes: its loss on single frames, and whether its flags depend on the images.

    python -m scripts.probe_nano src/cac/model/nano

Flags are ranked by position with all earlier flags drawn at random, because a flag could otherwise be guessed from the
previous ones and from its position. The control uses blank images. It is slightly above 0.5, because the timestamps
give the length of the clip, and a change takes a larger part of a short clip.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from transformers import Qwen3VLForConditionalGeneration

from cac.data.sample.render import COLOURS, KINDS
from cac.model.nano import build_processor
from cac.training.collator import IGNORE_INDEX, collate, training_template
from cac.video.sampling import spread_indices
from scripts.generic_scenes import SUDDEN, ordinary_scene, with_event
from scripts.generic_tasks import COARSE_COUNT, COARSE_SIZE, ask_flags, list_frame
from scripts.pretrain_nano import FLAGS, coordinate_ids, word_ids

BATCH = 24


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--seed", type=int, default=555)
    args = parser.parse_args()
    processor = build_processor()
    model = Qwen3VLForConditionalGeneration.from_pretrained(args.base).eval()
    with torch.no_grad():
        for name, nats in single_frame_nats(model, processor, args).items():
            print(f"{name:12} {nats:.2f} nats")
        scores, words = flag_scores((model, processor), args, blank=False)
        blank, _ = flag_scores((model, processor), args, blank=True)
    print(f"{'flags':12} AUROC {ranked(scores, words):.3f}, with blank images {ranked(blank, words):.3f}")
    for change in SUDDEN:
        mine = np.isin(words, ["", change])
        print(f"{change:12} AUROC {ranked(np.where(mine, scores, np.nan), words):.3f}")


def single_frame_nats(model, processor, args) -> dict[str, float]:
    """Return the mean loss of colours, kinds and coordinates in "list all" of single frames."""
    tokenizer = processor.tokenizer
    colours = torch.tensor([tokenizer.convert_tokens_to_ids(colour) for colour in COLOURS])  # a line begins with one
    groups = {"colour": colours, "kind": word_ids(tokenizer, KINDS), "coordinate": coordinate_ids(tokenizer)}
    nats = defaultdict(list)
    for index in range(args.batches):
        rng = np.random.default_rng([args.seed, 1, index])
        batch = collate(processor, training_template(processor), [list_frame(rng) for _ in range(2 * BATCH)])
        labels = batch.pop("labels")[:, 1:]
        scores = torch.log_softmax(model(**batch).logits[:, :-1][labels != IGNORE_INDEX], dim=-1)
        targets = labels[labels != IGNORE_INDEX]
        loss = -scores.gather(1, targets[:, None])[:, 0]
        for name, ids in groups.items():
            nats[name] += loss[torch.isin(targets, ids)].tolist()
    return {name: float(np.mean(values)) for name, values in nats.items()}


def flag_scores(parts, args, blank: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the log odds of "odd" and the true changes ("": none), each (clips, frames)."""
    model, processor = parts
    clear, odd = word_ids(processor.tokenizer, FLAGS)
    scores, words = [], []
    for index in range(args.batches):
        rng = np.random.default_rng([args.seed, 2, index])
        dialogues = []
        for _ in range(BATCH):
            clip = with_event(rng, ordinary_scene(rng, int(rng.integers(16, 33))))
            frames = spread_indices(clip.scene.frame_count, COARSE_COUNT)
            dialogues.append(ask_flags(clip, frames, COARSE_SIZE))
            words.append([event.word if (event := clip.event_at(t)) else "" for t in frames])
        batch = collate(processor, training_template(processor), dialogues)
        flag = torch.isin(batch.pop("labels"), torch.stack([clear, odd]))
        drawn = torch.from_numpy(rng.integers(0, 2, int(flag.sum())))
        batch["input_ids"][flag] = torch.where(drawn == 1, odd, clear)
        if blank:
            batch["pixel_values"] = torch.zeros_like(batch["pixel_values"])
        logits = model(**batch).logits[:, :-1][flag[:, 1:]]
        scores.append((logits[:, odd] - logits[:, clear]).view(BATCH, -1).numpy())
    return np.concatenate(scores), np.array(words)


def ranked(scores: np.ndarray, words: np.ndarray) -> float:
    """Return the AUROC of changed frames, averaged over the positions of a clip; NaN scores are skipped."""
    values = []
    for place in range(scores.shape[1]):
        known = ~np.isnan(scores[:, place])
        truth = words[known, place] != ""
        if 0 < truth.sum() < len(truth):
            values.append(roc_auc_score(truth, scores[known, place]))
    return float(np.mean(values))


if __name__ == "__main__":
    main()
