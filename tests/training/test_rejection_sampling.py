"""The best of own rollouts: what is chosen, what is learned from it, and that an interruption loses none."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cac.annotations import Clip, read_clips
from cac.clip_store import ClipStore
from cac.dialogue import Scan
from cac.errors import CacError
from cac.geometry import Window
from cac.judgement import Judgement
from cac.model.adapters import new_adapter, save_adapter
from cac.model.loading import base_identity, load_base, make_deterministic
from cac.model.reward_model import Scanned
from cac.params import Params
from cac.training import rejection_sampling, rollouts
from cac.training.checkpoints import CHECKPOINTS
from cac.training.collator import collate, training_template
from cac.training.rejection_sampling import NAME, improve, rollout_dialogue
from cac.training.rewards import total_reward
from cac.training.rollouts import Drawn, draw

CLIPS, GENERATIONS = 6, 4


@pytest.fixture(scope="module")
def params(project_params: Params, fresh_base: Path) -> Params:
    """The project's settings, cut down to a few small rollouts of a base that writes by chance."""
    grpo, frames = project_params.two_turn_grpo, project_params.frames
    own = {"clips": CLIPS, "generations": GENERATIONS, "batch_size": 2, "rollouts_at_once": 8, "epochs": 2}
    small = {"coarse_count": 3, "coarse_size": 32, "dense_count": 2, "dense_size": 32}
    steps = {"save_every": 1, "log_every": 1, "warmup_share": 0.0, "learning_rate": 0.01}
    rejection = grpo.rejection.model_copy(update={**own, **steps})
    return project_params.model_copy(
        update={
            "compute": project_params.compute.model_copy(update={"threads": 1}),
            "model": project_params.model.model_copy(update={"base": str(fresh_base)}),
            "adapter": project_params.adapter.model_copy(update={"rank": 4}),
            "frames": frames.model_copy(update=small),
            "two_turn_grpo": grpo.model_copy(update={"rejection": rejection, "max_turn_tokens": 60}),
        }
    )


@pytest.fixture(scope="module")
def start(params: Params, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("policy") / "adapter"
    make_deterministic(params.compute)
    save_adapter(new_adapter(load_base(params.model)[0], params.adapter), folder, base_identity(params.model))
    return folder


@pytest.fixture
def root(small_dataset: Path, tmp_path: Path, monkeypatch) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "data").symlink_to(small_dataset)
    monkeypatch.setattr(rollouts, "CLIPS_PER_JOB", 3)  # two jobs
    monkeypatch.setattr(rollouts, "spread", lambda work, jobs, **_: map(work, jobs))  # here, so that it can be watched
    return tmp_path / "root"


class Log(list):
    def __call__(self, metrics: dict[str, float], step: int) -> None:
        self.append((step, metrics))


class Scripted:
    """A reward model whose answers are given: scans as windows, looks as judgements, the same of every clip."""

    def __init__(self, scans: list[tuple[Window, ...] | None], looks: list[Judgement]) -> None:
        self.given, self.answers, self.after = scans, looks, []

    def scans(self, videos: list, copies: int) -> list[list[Scanned]]:
        return [[Scanned(None, None if w is None else Scan((), w)) for w in self.given]] * len(videos)  # type: ignore[arg-type]

    def looks(self, videos: list, scanned: list[Scanned], copies: int) -> list[list[Judgement]]:
        self.after += [one.scan.windows for one in scanned if one.scan]
        return [self.answers] * len(videos)


def judged(verdict: str, parsed: bool = True) -> Judgement:
    return Judgement(0.0, verdict, (), (), None, None, parsed, 5, "", "")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def clips(small_dataset: Path) -> list[Clip]:
    found = read_clips(small_dataset)
    return [next(clip for clip in found if clip.is_clean is clean) for clean in (True, False)]


def test_looks_follow_the_best_scan_and_the_first_of_the_best_is_kept(clips: list[Clip], params: Params) -> None:
    clean, anomalous = clips
    truth = tuple(anomalous.windows)
    right, again, torn = judged("anomalous"), judged("anomalous"), judged("clean", parsed=False)
    judge = Scripted([None, ((0.0, 0.1),), truth], [judged("clean"), right, again, torn])
    of_clean, of_anomalous = draw([clean, anomalous], [None, None], judge, params.two_turn_grpo)  # type: ignore[arg-type, list-item]
    assert judge.after == [((0.0, 0.1),), truth], "of a clean clip all windows are worth the same"
    assert of_anomalous.best is right
    assert (len(of_anomalous.overlaps), max(of_anomalous.overlaps), of_clean.overlaps) == (3, 1.0, ())
    assert of_clean.best is judge.answers[0]
    assert of_clean.rewards == tuple(total_reward(one, clean, params.two_turn_grpo) for one in judge.answers)
    assert Drawn.from_dict(json.loads(json.dumps(of_clean.to_dict()))) == of_clean


def test_what_cannot_be_read_or_is_all_alike_tells_nothing(clips: list[Clip], params: Params) -> None:
    clean, grpo = clips[:1], params.two_turn_grpo
    torn = judged("clean", parsed=False)
    (no_scan,) = draw(clean, [None], Scripted([None, None], []), grpo)  # type: ignore[arg-type, list-item]
    (no_look,) = draw(clean, [None], Scripted([()], [torn, torn]), grpo)  # type: ignore[arg-type, list-item]
    (worse,) = draw(clean, [None], Scripted([()], [judged("anomalous"), torn]), grpo)  # type: ignore[arg-type, list-item]
    assert worse.best is None, "a false alarm earns less than an answer that cannot be read"
    (alike,) = draw(clean, [None], Scripted([()], [judged("clean")] * 2), grpo)  # type: ignore[arg-type, list-item]
    assert (no_scan.best, no_look.best) == (None, None)
    assert alike.best is not None
    assert not alike.tells


def test_the_policy_learns_its_own_words_and_is_told_what_they_earned(params: Params, root: Path, start: Path) -> None:
    log = Log()
    adapter = improve(params, root, start, log)
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (start, adapter))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before if "visual" not in name)
    assert all(torch.equal(before[name], after[name]) for name in before if "visual" in name), "as GRPO leaves it"
    (_, told), *trained = log
    assert told["best_reward"] > told["reward"]
    assert told["best_windows"] >= told["windows"], "a policy of random weights finds none"
    assert 2 <= told["kept_clips"] <= CLIPS
    assert len(trained) == told["kept_clips"], "each twice, two a step"
    assert all(metrics["loss"] > 0 for _, metrics in trained)

    rejection_sampling.finish(root)
    rows = json.loads((root / "metrics" / f"{NAME}.json").read_text())
    assert [row["loss"] for row in rows] == [metrics["loss"] for _, metrics in trained]
    assert not (root / CHECKPOINTS / NAME).exists()


def test_what_is_learned_is_what_was_written_token_by_token(params: Params, root: Path, start: Path) -> None:
    folder = root / "rollouts"
    folder.mkdir()
    clips = rollouts.chosen_clips(params, root)
    found = rollouts.draw_all(params, root, start, folder)
    assert [len(one.rewards) for one in found] == [GENERATIONS] * CLIPS
    processor, store = load_base(params.model)[1], ClipStore(root / "data")
    for one, clip in zip(found, clips, strict=True):
        if one.best is None:
            continue
        dialogue = rollout_dialogue(one.best, clip, store, params.frames)
        batch = collate(processor, training_template(processor), [dialogue])
        learned = processor.decode(batch["input_ids"][0][batch["labels"][0] != -100])
        scan, look, rest = learned.split("<|im_end|>")
        assert (scan.strip(), look.strip()) == (one.best.scan_text.strip(), one.best.look_text.strip())
        assert rest.strip() == ""
        assert total_reward(one.best, clip, params.two_turn_grpo) == max(one.rewards)


def test_an_interruption_loses_no_rollout_and_changes_nothing(
    params: Params, root: Path, start: Path, monkeypatch
) -> None:
    straight = load_file(improve(params, root, start, Log()) / "adapter_model.safetensors")
    shutil.rmtree(root / CHECKPOINTS)
    run, done = rollouts._Job.run, []

    def interrupted(job) -> None:
        if len(done) == 1:
            raise KeyboardInterrupt
        run(job)
        done.append(job.start)

    monkeypatch.setattr(rollouts._Job, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        improve(params, root, start, Log())
    monkeypatch.setattr(rollouts._Job, "run", lambda job: (done.append(job.start), run(job)))
    resumed = improve(params, root, start, Log())
    assert done == [0, 3], "no job twice"
    again = load_file(resumed / "adapter_model.safetensors")
    assert all(torch.equal(straight[name], again[name]) for name in straight)
    assert improve(params, root, start, Log()) == resumed
    assert done == [0, 3]


def test_it_can_be_left_out_and_says_when_there_is_too_little(params: Params, root: Path, start: Path) -> None:
    def asked(**changes: int) -> Params:
        own = params.two_turn_grpo.rejection.model_copy(update=changes)
        return params.model_copy(update={"two_turn_grpo": params.two_turn_grpo.model_copy(update={"rejection": own})})

    assert improve(asked(clips=0), root, start, Log()) == start
    rejection_sampling.finish(root)
    assert json.loads((root / "metrics" / f"{NAME}.json").read_text()) == []
    with pytest.raises(CacError, match=r"two_turn_grpo\.rejection\.batch_size"):
        improve(asked(batch_size=CLIPS + 1), root, start, Log())
