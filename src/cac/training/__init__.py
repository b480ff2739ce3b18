"""The three training stages, rollouts, rewards, and resumable checkpoints."""
