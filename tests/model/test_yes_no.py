"""The baseline of one question: what is trained is what is asked, allowed, read and scored."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cac.frames import Frames
from cac.model.loading import load_base
from cac.model.reward_model import RewardModel, no_token_id
from cac.params import Params
from cac.schema.annotations import read_clips
from cac.schema.dialogue import parse_yes_no, yes_no_prompt, yes_no_reply
from cac.schema.dialogue_grammar import yes_no_grammar
from cac.training.collator import IGNORE_INDEX, collate, training_template
from cac.training.samples import SampleSpec, build_dialogue
from cac.training.sft_trainer import DECISION_WORDS, first_token_ids
from cac.video.clip_store import ClipStore
from cac.video.decode import Video
from cac.video.views import only_view


@pytest.fixture(scope="module")
def frames(project_params: Params) -> Frames:
    return project_params.frames.model_copy(
        update={"looks": 0, "coarse_count": 3, "dense_count": 2, "one_look_size": 32}
    )


@pytest.fixture(scope="module")
def judge(project_params: Params, fresh_base: Path, frames: Frames) -> RewardModel:
    model, processor = load_base(project_params.model.model_copy(update={"base": str(fresh_base)}))
    return RewardModel(model.eval(), processor, frames, max_turn_tokens=8)


def noise(seed: int) -> Video:
    return Video(np.random.default_rng(seed).integers(0, 255, (20, 48, 64, 3), dtype=np.uint8), 8.0)


def test_the_question_and_both_answers_are_words_of_the_nano(judge: RewardModel) -> None:
    tokenizer = judge.processor.tokenizer
    request = yes_no_prompt([], [])[0]["content"][-1]["text"]
    pieces = [tokenizer.decode([token]) for token in tokenizer(request, add_special_tokens=False)["input_ids"]]
    assert [piece for piece in pieces if len(piece) == 1] == ["\n"], "no word is spelled in bytes"
    for verdict, words in (("clean", ["seen", " no"]), ("anomalous", ["seen", " yes"])):
        text = yes_no_reply(verdict)["content"][0]["text"]
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert [tokenizer.decode([token]) for token in tokens] == words


@pytest.mark.parametrize("clean", [True, False])
def test_what_is_trained_is_what_the_grammar_allows_and_what_is_read(
    clean: bool, judge: RewardModel, frames: Frames, small_dataset: Path
) -> None:
    clips = read_clips(small_dataset)
    index = next(i for i, clip in enumerate(clips) if clip.is_clean == clean)
    dialogue = build_dialogue(SampleSpec(index), clips, ClipStore(small_dataset), frames)
    batch = collate(judge.processor, training_template(judge.processor), [dialogue])
    tokenizer, labels = judge.processor.tokenizer, batch["labels"][0]
    labelled = labels[labels != IGNORE_INDEX].tolist()
    answer = labelled[: labelled.index(tokenizer.eos_token_id)]
    matcher = judge.generator.decoder.matcher(yes_no_grammar(judge.generator.decoder.tag))
    assert matcher.try_consume_tokens(answer) == len(answer)
    assert matcher.is_accepting()
    look = parse_yes_no(tokenizer.decode(answer))
    assert look is not None
    assert (look.verdict, look.findings, look.leaf) == ("clean" if clean else "anomalous", (), None)
    decisive = set(first_token_ids(tokenizer, DECISION_WORDS))
    assert [token in decisive for token in answer] == [False, True], "the decision weight is on the verdict"
    prompt = judge.generator._encode([dialogue.messages[:1]], None)["input_ids"][0].tolist()
    assert batch["input_ids"][0, : len(prompt)].tolist() == prompt, "trained and judged with the same prompt"


def test_the_margin_is_the_log_odds_of_no_against_yes(judge: RewardModel, frames: Frames) -> None:
    videos = [noise(seed) for seed in range(6)]
    judged = judge.judge(videos, batch_size=3)
    tokenizer = judge.processor.tokenizer
    no, yes = (tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in (" no", " yes"))
    assert no == no_token_id(tokenizer) == judge.clean_token
    for video, judgement in zip(videos, judged, strict=True):
        view = only_view(video, frames)
        batch = judge.generator._encode([yes_no_prompt(view.images, view.times)], None)
        seen = torch.tensor([tokenizer("seen", add_special_tokens=False)["input_ids"]])
        batch["input_ids"] = torch.cat([batch["input_ids"], seen], dim=1)
        batch["attention_mask"] = torch.ones_like(batch["input_ids"])
        batch["mm_token_type_ids"] = torch.cat([batch["mm_token_type_ids"], torch.zeros_like(seen)], dim=1)
        with torch.no_grad():
            logits = judge.model(**batch).logits[0, -1]
        assert judgement.margin == pytest.approx(float(logits[no] - logits[yes]), abs=1e-3)
        assert judgement.verdict == ("clean" if judgement.margin > 0 else "anomalous")
        assert judgement.look_text == ("seen no" if judgement.margin > 0 else "seen yes")
        assert judgement.parsed
        assert judgement.frames_seen == 5
        assert (judgement.windows, judgement.findings, judgement.leaf, judgement.family) == ((), (), None, None)
    assert len({judgement.margin for judgement in judged}) == len(videos)


@pytest.mark.parametrize("text", ["", "seen", "seen none", "yes", "no", "seen no\nseen yes", "0.1 none"])
def test_any_other_answer_is_refused(text: str, judge: RewardModel) -> None:
    assert parse_yes_no(text) is None
    matcher = judge.generator.decoder.matcher(yes_no_grammar(judge.generator.decoder.tag))
    tokens = judge.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert not (matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting())
