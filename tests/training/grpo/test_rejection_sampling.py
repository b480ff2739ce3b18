"""Rejection sampling: which rollouts are selected, what the policy learns from them, and resuming."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers.adapters import save_changed_adapter
from safetensors.torch import load_file

from cac.errors import CacError
from cac.model.loading import base_identity, load_base, make_deterministic
from cac.model.reward_model import ScanAnswer
from cac.params import Params
from cac.paths import CHECKPOINTS
from cac.schema.annotations import Clip, read_clips
from cac.schema.dialogue import Scan
from cac.schema.geometry import Window
from cac.schema.judgement import Judgement
from cac.training.collator import collate, training_template
from cac.training.grpo import rejection_sampling, rollouts
from cac.training.grpo.rejection_sampling import NAME, rollout_to_dialogue, train_on_best_rollouts
from cac.training.grpo.rollouts import ClipRollouts, sample_rollouts
from cac.training.rewards import total_reward
from cac.video.clip_store import ClipStore

pytestmark = pytest.mark.slow

CLIPS, SCANS, TRIES, LOOKS = 12, 4, 2, 3


@pytest.fixture(scope="module")
def params(project_params: Params, fresh_base: Path) -> Params:
    """The project's settings, cut down to a few small rollouts of a base that writes by chance."""
    grpo, frames = project_params.two_turn_grpo, project_params.frames
    drawn = {"clips": CLIPS, "scans": SCANS, "tries": TRIES, "looks": LOOKS, "rollouts_at_once": 8}
    learned = {"batch_size": 2, "num_train_epochs": 2}
    small = {"coarse_count": 3, "coarse_size": 32, "dense_count": 2, "dense_size": 32}
    steps = {"save_steps": 1, "logging_steps": 1, "warmup_ratio": 0.0, "learning_rate": 0.01}
    rejection = grpo.rejection_sampling.model_copy(update={**drawn, **learned, **steps})
    return project_params.model_copy(
        update={
            "compute": project_params.compute.model_copy(update={"threads": 1}),
            "model": project_params.model.model_copy(update={"base": str(fresh_base)}),
            "adapter": project_params.adapter.model_copy(update={"r": 4}),
            "frames": frames.model_copy(update=small),
            "two_turn_grpo": grpo.model_copy(update={"rejection_sampling": rejection, "max_turn_tokens": 60}),
        }
    )


@pytest.fixture(scope="module")
def start(params: Params, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("policy") / "adapter"
    make_deterministic(params.compute)
    save_changed_adapter(load_base(params.model)[0], params.adapter, folder, base_identity(params.model))
    return folder


@pytest.fixture
def root(small_dataset: Path, tmp_path: Path, monkeypatch) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "data").symlink_to(small_dataset)
    monkeypatch.setattr(rollouts, "CLIPS_PER_JOB", CLIPS // 2)  # two jobs
    monkeypatch.setattr(rollouts, "parallel_map", lambda work, jobs, **_: map(work, jobs))  # in this process
    return tmp_path / "root"


class Log(list):
    def __call__(self, metrics: dict[str, float], step: int) -> None:
        self.append((step, metrics))


class Scripted:
    """A reward model with given answers: the scans of every clip as windows, and the looks after each of them."""

    def __init__(self, looks: dict[tuple[Window, ...] | None, list[Judgement]], scans: list | None = None) -> None:
        self.answers, self.given, self.after = looks, list(looks) if scans is None else scans, []

    def sample_scans(self, videos: list, copies: int) -> list[list[ScanAnswer]]:
        return [[ScanAnswer(None, None if w is None else Scan((), w)) for w in self.given]] * len(videos)  # type: ignore[arg-type]

    def sample_looks(self, videos: list, scanned: list[ScanAnswer], copies: int) -> list[list[Judgement]]:
        windows = [one.scan.windows for one in scanned if one.scan]
        self.after += windows
        return [self.answers[one] for one in windows]


def judged(verdict: str, parsed: bool = True) -> Judgement:
    return Judgement(0.0, verdict, (), (), None, None, parsed, 5, "", "")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def clips(small_dataset: Path) -> list[Clip]:
    found = read_clips(small_dataset)
    return [next(clip for clip in found if clip.is_clean is clean) for clean in (True, False)]


def test_looks_follow_the_scan_with_the_highest_window_reward(clips: list[Clip], params: Params) -> None:
    anomalous, truth = clips[1], tuple(clips[1].windows)
    right, again, torn = judged("anomalous"), judged("anomalous"), judged("clean", parsed=False)
    answers = {None: [], ((0.0, 0.1),): [right, right], truth: [judged("clean"), right, again, torn]}
    judge = Scripted(answers, [None, ((0.0, 0.1),), truth, truth])
    (found,) = sample_rollouts([anomalous], [None], judge, params.two_turn_grpo)  # type: ignore[arg-type, list-item]
    assert judge.after == [truth], "once, and after no scan that is worse"
    assert found.best is right
    best_scan = params.two_turn_grpo.reward_weights.scan
    assert (len(found.window_rewards), max(found.window_rewards), len(found.scan_values)) == (4, best_scan, 1)
    assert found.look_rewards == tuple(total_reward(one, anomalous, params.two_turn_grpo) for one in answers[truth])
    assert ClipRollouts.model_validate_json(found.model_dump_json()) == found


def test_of_scans_with_equal_rewards_the_one_with_better_looks_is_best(clips: list[Clip], params: Params) -> None:
    clean, sound, wrong = clips[0], judged("clean"), judged("anomalous")
    nothing, often, rare = (), ((0.0, 0.5),), ((0.5, 1.0),)
    looks = {nothing: [sound, sound], often: [wrong, sound], rare: [sound]}
    judge = Scripted(looks, [often, rare, nothing, often, nothing, often])
    (found,) = sample_rollouts([clean], [None], judge, params.two_turn_grpo)  # type: ignore[arg-type, list-item]
    assert judge.after == [often, nothing], "as many as are tried, the most frequent first"
    assert found.best is sound
    assert found.window_rewards == ()
    worth = total_reward(sound, clean, params.two_turn_grpo)
    assert found.look_rewards == (worth, worth)
    assert found.scan_values == (pytest.approx((worth + total_reward(wrong, clean, params.two_turn_grpo)) / 2), worth)
    assert found.rewards_differ, "the scans differ in what they lead to"


def test_wrong_unparsable_or_equal_rollouts_are_not_trained_on(clips: list[Clip], params: Params) -> None:
    def found(looks: list[Judgement] | None) -> ClipRollouts:
        judge = Scripted({None: []} if looks is None else {(): looks})
        return sample_rollouts(clips[:1], [None], judge, params.two_turn_grpo)[0]  # type: ignore[arg-type, list-item]

    torn = judged("clean", parsed=False)
    assert (found(None).best, found([torn, torn]).best) == (None, None)
    assert not found(None).rewards_differ
    assert found([judged("anomalous"), torn]).best is None, "the better of two wrong answers is still wrong"
    alike = found([judged("clean")] * 2)
    assert alike.best is not None
    assert not alike.rewards_differ


def test_the_policy_trains_on_its_own_rollouts_and_logs_their_rewards(params: Params, root: Path, start: Path) -> None:
    log = Log()
    adapter = train_on_best_rollouts(params, root, start, log)
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (start, adapter))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before if "visual" not in name)
    assert all(torch.equal(before[name], after[name]) for name in before if "visual" in name), "as GRPO leaves it"
    (_, summary), *trained = log
    assert summary["best_reward"] > summary["reward"]
    assert summary["best_windows"] >= summary["windows"], "a policy of random weights finds none"
    assert 2 <= summary["kept_clips"] <= CLIPS
    assert len(trained) == summary["kept_clips"], "each twice, two a step"
    assert all(metrics["loss"] > 0 for _, metrics in trained)

    rejection_sampling.publish_history(root)
    rows = json.loads((root / "metrics" / f"{NAME}.json").read_text())
    assert [row["loss"] for row in rows] == [metrics["loss"] for _, metrics in trained]
    assert not (root / CHECKPOINTS / NAME).exists()


def test_the_second_epoch_encodes_no_image_again(params: Params, root: Path, start: Path, monkeypatch) -> None:
    encoded: list[None] = []

    def watched_base(settings):
        base, processor = load_base(settings)
        base.model.visual.patch_embed.register_forward_hook(lambda *_: encoded.append(None))
        return base, processor

    monkeypatch.setattr(rejection_sampling, "load_base", watched_base)
    log = Log()
    train_on_best_rollouts(params, root, start, log)
    steps = len(log) - 1
    assert steps > 2
    assert len(encoded) <= (steps + 1) // 2, "the second epoch uses the cache"


def test_the_labels_are_the_tokens_of_the_rollout(params: Params, root: Path, start: Path) -> None:
    folder = root / "rollouts"
    folder.mkdir()
    clips = rollouts.rollout_clips(params, root)
    found = rollouts.sample_all_rollouts(params, root, start, folder)
    assert [len(one.look_rewards) for one in found] == [LOOKS] * CLIPS
    assert all(1 <= len(one.scan_values) <= TRIES for one in found)
    processor, store = load_base(params.model)[1], ClipStore(root / "data")
    for one, clip in zip(found, clips, strict=True):
        if one.best is None:
            continue
        dialogue = rollout_to_dialogue(one.best, clip, store, params.frames)
        batch = collate(processor, training_template(processor), [dialogue])
        learned = processor.decode(batch["input_ids"][0][batch["labels"][0] != -100])
        scan, look, rest = learned.split("<|im_end|>")
        assert (scan.strip(), look.strip()) == (one.best.scan_text.strip(), one.best.look_text.strip())
        assert rest.strip() == ""
        assert total_reward(one.best, clip, params.two_turn_grpo) == max(one.look_rewards)


def test_an_interrupted_run_resumes_to_the_same_adapter(params: Params, root: Path, start: Path, monkeypatch) -> None:
    straight = load_file(train_on_best_rollouts(params, root, start, Log()) / "adapter_model.safetensors")
    shutil.rmtree(root / CHECKPOINTS)
    run, done = rollouts._Job.run, []

    def interrupted(job) -> None:
        if len(done) == 1:
            raise KeyboardInterrupt
        run(job)
        done.append(job.start)

    monkeypatch.setattr(rollouts._Job, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_on_best_rollouts(params, root, start, Log())
    monkeypatch.setattr(rollouts._Job, "run", lambda job: (done.append(job.start), run(job)))
    resumed = train_on_best_rollouts(params, root, start, Log())
    assert done == [0, CLIPS // 2], "no job twice"
    again = load_file(resumed / "adapter_model.safetensors")
    assert all(torch.equal(straight[name], again[name]) for name in straight)
    assert train_on_best_rollouts(params, root, start, Log()) == resumed
    assert done == [0, CLIPS // 2]


def test_it_can_be_switched_off_and_too_few_clips_are_an_error(params: Params, root: Path, start: Path) -> None:
    def asked(**changes: int) -> Params:
        own = params.two_turn_grpo.rejection_sampling.model_copy(update=changes)
        grpo = params.two_turn_grpo.model_copy(update={"rejection_sampling": own})
        return params.model_copy(update={"two_turn_grpo": grpo})

    assert train_on_best_rollouts(asked(clips=0), root, start, Log()) == start
    rejection_sampling.publish_history(root)
    assert json.loads((root / "metrics" / f"{NAME}.json").read_text()) == []
    with pytest.raises(CacError, match=r"two_turn_grpo\.rejection_sampling\.batch_size"):
        train_on_best_rollouts(asked(batch_size=CLIPS + 1), root, start, Log())
