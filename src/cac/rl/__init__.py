"""The reward model in downstream reinforcement learning: rewards for trainers, best-of-N, a reward-hacking monitor."""
