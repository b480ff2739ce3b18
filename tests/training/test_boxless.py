"""Clips with windows and without boxes: everything is taught but the coordinates, and no reward judges those."""

from pathlib import Path

import pytest
import torch
from helpers.boxless import without_boxes, write_boxless

from cac.evaluation.ceiling import perfect_judgements
from cac.model.adapters import load_adapter
from cac.model.loading import base_identity, load_base
from cac.model.nano import build_processor
from cac.params import Params
from cac.schema.annotations import Clip, read_clips
from cac.schema.dialogue import ANYWHERE, coordinate_spans, look_prompt, parse_look, parse_scan, verbatim_reply
from cac.schema.judgement import Judgement
from cac.schema.taxonomy import LEAVES
from cac.training import collator, multi_frame_sft, samples
from cac.training.collator import IGNORE_INDEX, Dialogue, collate, training_template
from cac.training.dense_token_loss import UNLABELLED
from cac.training.grpo.rejection_sampling import rollout_to_dialogue
from cac.training.samples import SampleSpec, build_dialogue, draw_specs
from cac.video.clip_store import ClipStore


@pytest.fixture(scope="module")
def processor():
    return build_processor()


@pytest.fixture(scope="module")
def clips(small_dataset: Path) -> list[Clip]:
    return read_clips(small_dataset)


@pytest.fixture(scope="module")
def boxed(clips: list[Clip]) -> Clip:
    return next(clip for clip in clips if not clip.is_clean and LEAVES[clip.anomalies[0].leaf].visible_in_frame)


@pytest.fixture(scope="module")
def boxless(boxed: Clip) -> Clip:
    return without_boxes(boxed)


def dialogue_of(clip: Clip, dataset: Path, params: Params, **spec: object) -> Dialogue:
    return build_dialogue(SampleSpec(0, **spec), [clip], ClipStore(dataset), params.frames)  # type: ignore[arg-type]


def learned(processor, batch: dict, row: int) -> str:
    labels = batch["labels"][row]
    return processor.tokenizer.decode(labels[labels != IGNORE_INDEX])


def without_coordinates(text: str) -> str:
    for span in filter(None, reversed(coordinate_spans(text))):
        text = text[: span[0]].rstrip() + text[span[1] :]
    return text


def test_the_answers_are_those_of_the_clip_with_boxes_but_for_the_boxes(
    boxed: Clip, boxless: Clip, small_dataset: Path, project_params: Params
) -> None:
    known, unknown = (dialogue_of(clip, small_dataset, project_params) for clip in (boxed, boxless))
    assert unknown.messages[1] == known.messages[1]
    true, placed = (parse_look(one.messages[-1]["content"][0]["text"]) for one in (known, unknown))
    assert true is not None
    assert placed is not None
    assert [one.box is None for one in placed.findings] == [one.box is None for one in true.findings]
    assert {one.box for one in placed.findings} <= {None, ANYWHERE}
    assert (placed.leaf, placed.verdict) == (true.leaf, "anomalous")
    assert known.unlabelled == ()
    assert unknown.image_labels == tuple(label and (label[0], None) for label in known.image_labels or ())


def test_of_an_answer_without_a_true_box_everything_is_learned_but_its_coordinates(
    boxed: Clip, boxless: Clip, small_dataset: Path, project_params: Params, processor
) -> None:
    pair = [dialogue_of(clip, small_dataset, project_params) for clip in (boxed, boxless)]
    batch = collate(processor, training_template(processor), pair)
    alone = collate(processor, training_template(processor), pair[:1])
    answers = [dialogue.messages[-1]["content"][0]["text"] for dialogue in pair]
    assert learned(processor, batch, 0).endswith(f"{answers[0]}<|im_end|>\n")
    assert torch.equal(batch["labels"][0][: alone["labels"].shape[1]], alone["labels"][0])
    shown = learned(processor, batch, 1)
    assert "seen\n" in shown
    assert shown.endswith(f"{without_coordinates(answers[1])}<|im_end|>\n")
    assert shown.replace(without_coordinates(answers[1]), "") == learned(processor, batch, 0).replace(answers[0], "")


def test_image_tokens_of_a_frame_whose_box_is_unknown_have_no_label(
    boxed: Clip, boxless: Clip, small_dataset: Path, project_params: Params, processor
) -> None:
    template = training_template(processor)
    known, unknown = (
        collate(processor, template, [dialogue_of(clip, small_dataset, project_params)])["dense_labels"]
        for clip in (boxed, boxless)
    )
    assert known.shape == unknown.shape
    assert (known >= 0).all()
    assert set(unknown.tolist()) == {0, UNLABELLED}
    assert (unknown[known > 0] == UNLABELLED).all()


def test_a_tokeniser_that_cuts_every_character_learns_no_part_of_a_number() -> None:
    class Letters:
        def decode(self, ids: list[int], **_: object) -> str:
            return "".join(map(chr, ids))

    answer = "0.5 none\n0.6 seen 0 0 100 100\nattribution teleport verdict anomalous"
    (span,) = filter(None, coordinate_spans(answer))
    assert answer[slice(*span)] == "0 0 100 100"
    dialogue = Dialogue([*look_prompt([], []), verbatim_reply(answer)], has_tool=False, unlabelled=(span,))
    text = f"user: {answer}\nassistant: {answer}<end>"
    mask = torch.tensor([position >= text.rindex("0.5") for position in range(len(text))])
    collator._drop_characters(mask, [ord(letter) for letter in text], Letters(), dialogue)
    kept = "".join(letter for letter, taught in zip(text, mask, strict=True) if taught)
    assert kept == "0.5 none\n0.6 seen \nattribution teleport verdict anomalous<end>"
    with pytest.raises(ValueError, match="do not spell the answer"):
        collator._drop_characters(mask, [ord(letter) for letter in text.upper()], Letters(), dialogue)


def test_an_anomaly_with_boxes_beside_one_without_keeps_its_coordinates(
    boxed: Clip, small_dataset: Path, project_params: Params
) -> None:
    (anomaly,) = boxed.anomalies
    whole = anomaly.model_copy(update={"boxes": (), "window": (0.0, boxed.duration)})
    both = boxed.model_copy(update={"anomalies": (whole, anomaly)})
    frames = {box.frame for box in anomaly.boxes}
    assert both.shown_at(min(frames)) == [*boxed.boxes_at(min(frames)), (whole.leaf, None)]
    dialogue = dialogue_of(both, small_dataset, project_params)
    text = dialogue.messages[-1]["content"][0]["text"]
    look = parse_look(text)
    assert look is not None
    true = [look.findings[i].box != ANYWHERE for i in range(len(look.findings))]
    assert 0 < sum(true) < len(true)
    hidden = [span for span, is_true in zip(coordinate_spans(text), true, strict=False) if not is_true]
    assert list(dialogue.unlabelled) == hidden


def test_with_boxes_or_clean_nothing_is_unlabelled(
    clips: list[Clip], small_dataset: Path, project_params: Params
) -> None:
    store = ClipStore(small_dataset)
    for index, clip in enumerate(clips[:8]):
        dialogue = build_dialogue(SampleSpec(index), clips, store, project_params.frames)
        assert dialogue.unlabelled == ()
        assert all(clip.shown_at(frame) == clip.boxes_at(frame) for frame in range(clip.frame_count))


def test_a_frame_of_the_window_is_a_single_frame_with_the_anomaly_and_never_one_without(
    clips: list[Clip], boxless: Clip, small_dataset: Path, project_params: Params
) -> None:
    inside = set(boxless.frames_of(boxless.anomalies[0]))
    assert inside == {box.frame for clip in clips if clip.clip_id == boxless.clip_id for box in clip.anomalies[0].boxes}
    settings = project_params.single_frame_sft.model_copy(update={"max_steps": 40})
    drawn = [(spec, bool(boxless.shown_at(spec.frame or 0))) for spec in draw_specs([boxless], settings, seed=0)]
    assert {shown for _, shown in drawn} == {True, False}
    assert all(shown == (spec.frame in inside) for spec, shown in drawn)
    shown, clear = (next(spec.frame for spec, is_shown in drawn if is_shown is one) for one in (True, False))
    dialogue = dialogue_of(boxless, small_dataset, project_params, frame=shown)
    text = dialogue.messages[-1]["content"][0]["text"]
    assert [text[slice(*span)] for span in dialogue.unlabelled] == ["0 0 100 100"]
    assert dialogue_of(boxless, small_dataset, project_params, frame=clear).unlabelled == ()


def test_a_window_of_one_frame_is_shown_by_that_frame(boxless: Clip) -> None:
    start = 3 / boxless.fps
    brief = boxless.anomalies[0].model_copy(update={"window": (round(start, 6), round(start + 5e-4, 6))})
    clip = boxless.model_copy(update={"anomalies": (brief,)})
    assert [frame for frame in range(clip.frame_count) if clip.shown_at(frame)] == [3]


def test_perfect_answers_find_the_window_and_give_no_box(boxed: Clip, boxless: Clip, project_params: Params) -> None:
    known, unknown = perfect_judgements([boxed, boxless], project_params.frames)
    assert (unknown.verdict, unknown.leaf, unknown.windows) == ("anomalous", known.leaf, known.windows)
    assert [one.box for one in unknown.findings] == [None] * len(known.findings)
    assert any(one.box for one in known.findings)


def test_a_rollouts_own_coordinates_are_not_learned_either(
    boxed: Clip, boxless: Clip, small_dataset: Path, project_params: Params
) -> None:
    true = dialogue_of(boxed, small_dataset, project_params)
    scan = parse_scan(true.messages[1]["content"][0]["text"], true.messages[1]["tool_calls"])
    assert scan is not None
    text = true.messages[-1]["content"][0]["text"]
    scan_text = true.messages[1]["content"][0]["text"]
    rollout = Judgement(0.0, "anomalous", (), (), None, None, True, 8, scan_text, text, scan_windows=scan.windows)
    known, unknown = (
        rollout_to_dialogue(rollout, clip, ClipStore(small_dataset), project_params.frames) for clip in (boxed, boxless)
    )
    assert known.unlabelled == ()
    assert list(unknown.unlabelled) == list(filter(None, coordinate_spans(text)))


def log_likelihoods(model, processor, dialogues: list[Dialogue]) -> tuple[float, float]:
    """The mean log-likelihood of the labelled tokens, and of those that have no label only because of their span."""
    template = training_template(processor)
    taught = collate(processor, template, dialogues)
    bare = [Dialogue(one.messages, one.has_tool) for one in dialogues]
    labels = collate(processor, template, bare)["labels"][:, 1:]
    with torch.no_grad():
        inputs = {key: value for key, value in taught.items() if key not in ("labels", "dense_labels")}
        logs = model(**inputs).logits[:, :-1].log_softmax(-1)
    known = logs.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    is_taught = taught["labels"][:, 1:] != IGNORE_INDEX
    hidden = (labels != IGNORE_INDEX) & ~is_taught
    assert hidden.any()
    return float(known[is_taught].mean()), float(known[hidden].mean())


@pytest.mark.slow
def test_training_on_windows_alone_teaches_words_and_no_invented_coordinate(
    small_dataset: Path, project_params: Params, fresh_base: Path, tmp_path: Path, monkeypatch
) -> None:
    """TRL really trains, with and without labels on the placeholder's coordinates.

    Without them the coordinates become likelier as well, because all answers are full of digits, but far less so.
    """
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    train = [clip for clip in write_boxless(small_dataset, tmp_path / "data") if clip.split == "train"]
    anomalous = [i for i, clip in enumerate(train) if not clip.is_clean]
    short = {"max_steps": 8, "batch_size": 4, "gradient_accumulation_steps": 1, "learning_rate": 0.01}
    frames = {"coarse_count": 3, "coarse_size": 32, "dense_count": 3, "dense_size": 32}
    params = project_params.model_copy(
        update={
            "compute": project_params.compute.model_copy(update={"threads": 1}),
            "model": project_params.model.model_copy(update={"base": str(fresh_base)}),
            "frames": project_params.frames.model_copy(update=frames),
            "multi_frame_sft": project_params.multi_frame_sft.model_copy(update={**short, "single_frame_ratio": 0.3}),
        }
    )
    store = ClipStore(tmp_path / "data")
    dialogues = [build_dialogue(SampleSpec(index), train, store, params.frames) for index in anomalous]
    words, coordinates = gained(params, tmp_path, dialogues)
    monkeypatch.setattr(samples, "unknown_coordinates", lambda *_: ())
    _, coordinates_with_labels = gained(params, tmp_path, dialogues)
    assert words > 1
    assert coordinates_with_labels > 3 * coordinates


def gained(params: Params, root: Path, dialogues: list[Dialogue]) -> tuple[float, float]:
    """Train stage 2 and return by how much words and coordinates have become likelier."""
    model, processor = load_base(params.model)
    before = log_likelihoods(model, processor, dialogues)
    multi_frame_sft.train(params, root, previous=None)
    adapter = root / "models" / "multi_frame_sft"
    trained = load_adapter(model, adapter, base_identity(params.model), params.adapter, trainable=False)
    after = log_likelihoods(trained, processor, dialogues)
    return after[0] - before[0], after[1] - before[1]
