"""The generic tasks the base is pretrained on: true labels, and no word of what is right or wrong."""

from itertools import pairwise

import numpy as np
import pytest

from cac.data.sample.render import COLOURS, KINDS, extent
from cac.model.nano import build_processor
from cac.schema.taxonomy import LEAVES, Family
from cac.training.collator import collate, training_template
from scripts.dense_clips import label_clip
from scripts.generic_scenes import (
    CHANGES,
    CLIP_SIZE,
    NOTHING,
    SLOW,
    cell_owners,
    ordinary_scene,
    with_event,
    with_events,
    with_slow_change,
)
from scripts.generic_tasks import COARSE_SIZE, SLOW_NAMES, compare, easy_frame, multi_frame, single_frame, two_turn

SEEDS = range(20)


def texts(message: dict) -> str:
    return " ".join(block.get("text", "") for block in message["content"])


@pytest.mark.parametrize("task", [easy_frame, single_frame, multi_frame, two_turn, lambda rng: compare(rng, 3, 0.5)])
def test_no_task_speaks_of_anomalies(task) -> None:
    banned = {*LEAVES, *Family, "verdict", "attribution", "anomalous", "clean"}
    for seed in SEEDS:
        dialogue = task(np.random.default_rng(seed))
        question = dialogue.messages[0]["content"][-1]["text"]
        if question.startswith("read ") and question != "read word count legs":
            continue  # "repeat these words" trains every token's embedding
        for message in dialogue.messages:
            assert not banned & set(texts(message).split())


@pytest.mark.parametrize("task", [multi_frame, two_turn, lambda rng: compare(rng, 2, 0.0)])
def test_every_image_token_and_frame_has_its_label(task) -> None:
    processor = build_processor()
    dialogues = [task(np.random.default_rng(seed)) for seed in range(4)]
    batch = collate(processor, training_template(processor), dialogues)
    closing = processor.tokenizer.convert_tokens_to_ids("<|vision_end|>")
    image, frame = (sum(len(getattr(dialogue.labels, name)) for dialogue in dialogues) for name in ("change", "frame"))
    assert image == int((batch["input_ids"] == processor.image_token_id).sum())
    assert frame == int((batch["input_ids"] == closing).sum())


@pytest.mark.parametrize("change", [with_event, with_slow_change])
@pytest.mark.parametrize("seed", SEEDS)
def test_labels_say_what_the_scene_does(seed: int, change) -> None:
    rng = np.random.default_rng(seed)
    clip = change(rng, ordinary_scene(rng, 20))
    (event,) = clip.events
    frames = [0, event.first - 1, event.first, event.last, min(event.last + 1, 19)]
    labels = label_clip(clip, frames, COARSE_SIZE)
    cells = labels.change.reshape(len(frames), -1)
    for row, frame in enumerate(frames):
        owner = cell_owners([actor[frame] for actor in clip.scene.actors], 4)
        mine = owner == event.actor
        expected = 1 + CHANGES.index(event.word) if event.at(frame) else 0
        assert (cells[row][mine] == expected).all()
        assert set(cells[row][~mine]) <= {0, NOTHING}
        assert labels.frame[row] == expected
        assert (labels.frame_box[row] != NOTHING).all() == event.at(frame)
        place = {tuple(box) for box in labels.box.reshape(len(frames), -1, 4)[row][mine]}
        assert place <= {tuple(labels.frame_box[row])} or not event.at(frame)
    usual = clip.usual.actors[event.actor][0]
    assert set(labels.usual_colour) <= {NOTHING, list(COLOURS).index(usual.colour)}
    assert set(labels.usual_kind) <= {NOTHING, KINDS.index(usual.kind)}


def test_a_past_box_is_where_the_thing_was_in_the_frame_before() -> None:
    rng = np.random.default_rng(3)
    scene = ordinary_scene(rng, 20)
    clip = with_events(rng, scene, 0.0, [4, 12])
    labels = label_clip(clip, [4, 12], COARSE_SIZE)
    assert (labels.past_box[:16] == label_clip(clip, [4, 4], COARSE_SIZE).past_box[16:]).all()
    now, before = (label_clip(clip, [t, t], COARSE_SIZE).past_box[16:] for t in (12, 4))
    seen = {tuple(box) for box in labels.past_box[16:] if box[0] != NOTHING}
    assert seen <= {tuple(box) for box in before}
    assert seen != {tuple(box) for box in now if box[0] != NOTHING}


def test_wrong_scans_occur_and_are_context_only() -> None:
    wrong = 0
    for seed in SEEDS:
        dialogue = two_turn(np.random.default_rng(seed))
        flags = [line.endswith(" odd") for line in texts(dialogue.messages[1]).split("\n")]
        true = list(dialogue.labels.frame[: len(flags)] > 0)
        if "what changes" in texts(dialogue.messages[0]) and flags != true:
            assert dialogue.learn_from_turn == 1
            wrong += 1
    assert wrong > 2


def test_things_move_sideways_too_and_never_into_the_wall() -> None:
    sideways = vertical = beside_a_wall = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        clip = with_event(rng, ordinary_scene(rng, 20))
        (event,) = clip.events
        if event.word != "moved":
            continue
        usual, moved = (scene.actors[event.actor] for scene in (clip.usual, clip.scene))
        steps = {
            (round(now.x - then.x, 1) != 0, round(now.y - then.y, 1) != 0)
            for now, then in zip(moved, usual, strict=True)
        }
        vertical += (False, True) in steps
        if (True, False) not in steps:
            continue
        sideways += 1
        for t in range(event.first, event.last + 1):
            left, _, right, _ = extent(moved[t], CLIP_SIZE, CLIP_SIZE)
            assert left > 0
            assert right < 1
            if clip.scene.wall is not None:
                beside_a_wall += 1
                assert right * CLIP_SIZE <= clip.scene.wall.x1 or left * CLIP_SIZE >= clip.scene.wall.x2
    assert min(sideways, vertical, beside_a_wall) > 10


def test_slow_changes_are_all_there_and_have_no_jump() -> None:
    """From frame to frame a thing grows, turns or folds by a part of the whole way; what comes in is seen from the edge
    on, and stays out of the wall."""
    seen = dict.fromkeys(SLOW, 0)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        clip = with_slow_change(rng, ordinary_scene(rng, 20))
        (event,) = clip.events
        seen[event.word] += 1
        usual, changed = (scene.actors[event.actor] for scene in (clip.usual, clip.scene))
        away = [
            abs(now.size / then.size - 1) + abs(now.turn - then.turn) + abs(now.crouch - then.crouch)
            for now, then in zip(changed, usual, strict=True)
        ]
        if event.word == "visiting":
            away = [abs(now.x - then.x) / CLIP_SIZE for now, then in zip(changed, usual, strict=True)]
            assert all(extent(state, CLIP_SIZE, CLIP_SIZE)[0] in (0, 1) for state in usual)
        most = max(away)
        assert away[0] == 0
        assert most > 0.2
        assert max(abs(b - a) for a, b in pairwise(away)) < 0.5 * most
        assert all((away[t] >= 0.3 * most - 1e-6) == event.at(t) for t in range(20) if abs(away[t] - 0.3 * most) > 1e-3)
        if event.word in ("visiting", "nearing") and clip.scene.wall is not None:
            for state in changed:
                left, _, right, _ = (CLIP_SIZE * edge for edge in extent(state, CLIP_SIZE, CLIP_SIZE))
                assert right <= clip.scene.wall.x1 or left >= clip.scene.wall.x2
    assert min(seen.values()) > 10


def test_a_slow_change_is_named_and_its_scan_is_not_learned_from() -> None:
    named = 0
    for seed in range(100):
        dialogue = two_turn(np.random.default_rng(seed))
        closing = texts(dialogue.messages[-1]).split("\n")[-1]
        if closing.removeprefix("changed ").removesuffix(" seen yes") in SLOW_NAMES.values():
            assert dialogue.learn_from_turn == 1
            named += 1
    assert named > 10
