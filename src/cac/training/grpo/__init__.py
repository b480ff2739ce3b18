"""What the GRPO stage is made of: rollouts, their environment, advantages, rejection sampling, and the trainer."""
