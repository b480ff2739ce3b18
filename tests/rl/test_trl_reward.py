"""The reward function inside TRL's own trainer: a tiny text policy whose answers, or whose tool, make the videos."""

from pathlib import Path

import pytest
from helpers.rl_clips import BRIGHT, DARK, moving

from cac.errors import CacError
from cac.rl.trl_reward import AnomalyReward, Rollouts, from_column, from_completions, from_environments
from cac.video.decode import Video
from cac.video.encode import encode

METRICS = {
    "cac/score",
    "cac/motion",
    "cac/still_share",
    "cac/unparsed_share",
    "cac/extreme_share",
    "cac/hacking_suspected",
}


def train(policy, out: Path, reward, rows: list[dict], **options):
    """Make one step on the rows, two rollouts each, and return the trainer."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    settings = GRPOConfig(
        output_dir=str(out),
        per_device_train_batch_size=4,
        num_generations=2,
        max_completion_length=6,
        max_steps=1,
        logging_steps=1,
        report_to="none",
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
    )
    model, tokenizer = policy
    dataset = Dataset.from_list(rows)
    trainer = GRPOTrainer(
        model=model, reward_funcs=reward, args=settings, train_dataset=dataset, processing_class=tokenizer, **options
    )
    trainer.train()
    return trainer


def brightness(text: str) -> int:
    return DARK if len(text) % 2 else BRIGHT


def test_completions_become_videos_in_a_real_trainer(policy, rewarder, tmp_path):
    seen = []

    def render(prompt: str, completion: str) -> Video:
        seen.append((prompt, completion))
        return moving(brightness(completion))

    reward = AnomalyReward(rewarder, from_completions(render))
    trainer = train(policy, tmp_path, reward, [{"prompt": "a ball"}, {"prompt": "a box"}])
    expected = [one.reward for one in rewarder.evaluate([moving(brightness(text)) for _, text in seen])]
    (row,) = [row for row in trainer.state.log_history if "reward" in row]
    assert row.keys() >= METRICS
    assert row["rewards/AnomalyReward/mean"] == pytest.approx(sum(expected) / len(expected), abs=1e-4)
    assert row["cac/motion"] == pytest.approx(rewarder.monitor.last.motion)
    assert trainer._logs["rewards"]["AnomalyReward"] == pytest.approx(expected, abs=1e-4)
    assert len(trainer._logs["extra"]["cac_score"]) == 4
    assert sorted({prompt for prompt, _ in seen}) == ["a ball", "a box"]


class Studio:
    """An environment whose tool films a scene; before it is called there is no video unless the row says so."""

    def reset(self, **row):
        self.video = moving(DARK) if row["filmed"] else None
        return ""

    def film(self, level: int) -> str:
        """
        Film the scene.

        Args:
            level: The backdrop's brightness.
        """
        self.video = moving(level)
        return "done"


def test_environments_hand_over_their_videos_in_a_real_trainer(policy, rewarder, tmp_path):
    rows = [{"prompt": [{"role": "user", "content": "film"}], "filmed": filmed} for filmed in (True, False)]
    reward = AnomalyReward(rewarder, from_environments())
    trainer = train(policy, tmp_path, reward, rows, environment_factory=Studio)
    clean = rewarder.evaluate([moving(DARK)])[0].reward
    assert sorted(trainer._logs["rewards"]["AnomalyReward"]) == pytest.approx([-1, -1, clean, clean], abs=1e-4)
    assert sorted(trainer._logs["extra"]["cac_parsed"]) == [False, False, True, True]


def test_a_column_of_paths_is_scored(rewarder, tmp_path):
    paths = [str(tmp_path / f"{level}.mp4") for level in (DARK, BRIGHT)]
    for path, level in zip(paths, (DARK, BRIGHT), strict=True):
        encode(path, moving(level).frames, 8)
    reward = AnomalyReward(rewarder, from_column("video"))
    columns = {"completion_ids": [[1], [2]], "video": paths, "trainer_state": None}
    rewards = reward(prompts=["p", "p"], completions=["a", "b"], **columns)
    assert rewards == [one.reward for one in rewarder(paths)]
    assert all(type(value) is float for value in rewards)
    assert rewards[0] > rewards[1]


def test_what_is_missing_is_said(rewarder):
    rollouts = Rollouts(["p"], ["c"], {"clip": ["a.mp4"]})
    with pytest.raises(CacError, match=r"no 'video' \(it gave clip\); it comes from a column"):
        from_column("video")(rollouts)
    with pytest.raises(CacError, match=r"no .environments.*environment_factory"):
        from_environments()(rollouts)
    reward = AnomalyReward(rewarder, lambda rollouts: [None])
    with pytest.raises(CacError, match="1 videos for 2 rollouts"):
        reward(prompts=["p", "p"], completions=["a", "b"])
