"""CaC: a coarse-to-fine anomaly reward model for generated video."""

import os

from cac.compatibility import keep_old_names

# Idle PyTorch threads sleep instead of spinning. When another process wants a core, the default makes one video's score
# take 15 s instead of 0.8 s; alone, one video takes the same time and a batch 10 % more. OpenMP reads this variable
# when torch is first imported, and our own code imports torch later.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

keep_old_names()
