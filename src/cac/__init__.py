"""CaC: a coarse-to-fine anomaly reward model for generated video."""

import os

# Threads of PyTorch that wait for each other sleep instead of spinning. Where another process wants a core as well, the
# default makes one video's score take 15 s instead of 0.8 s; alone, one video takes the same time and a batch a tenth
# more (docs/experiments.md). OpenMP reads this when torch is first imported, and our own code imports it later.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
