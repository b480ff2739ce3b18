"""CaC: a coarse-to-fine anomaly reward model for generated video."""

import os

# Threads of PyTorch that wait for each other sleep instead of spinning. Where another process wants a core as well, the
# default makes one video's score take 15 s instead of 0.8 s; alone they are equally fast (docs/experiments.md). OpenMP
# reads this when torch is first imported, which whatever of ours needs torch does after this line.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
