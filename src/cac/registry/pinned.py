"""A pinned reward model: one version, resolved once and used for a whole run.

An alias such as `champion` moves with each promotion, and a reward that changes during a training run invalidates the
run. So the alias is resolved to a version number when the model is loaded, and not again. Record that number
(`PinnedModel.source`) and give it to other processes of the run, and to the run when it is resumed. Out of scope:
serving, caching, and several devices for one batch.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cac.errors import CacError
from cac.registry import loading
from cac.registry.model_uri import resolve_version
from cac.schema.judgement import Judgement
from cac.video.decode import AnyVideo

if TYPE_CHECKING:
    from cac.model.reward_model import RewardModel

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PinnedModel:
    """A loaded reward model and its source.

    Attributes:
        model: in memory, so nothing outside of this process can change it.
        source: `models:/NAME/NUMBER`, or the folder of a package; loading it again gives the same model.
    """

    model: "RewardModel"
    source: str

    @property
    def threshold(self) -> float | None:
        """The lowest score of a clean verdict; None if the verdict is the model's own."""
        return self.model.calibration.threshold

    def judge(self, videos: Sequence[AnyVideo], batch_size: int) -> list[tuple[float, Judgement]]:
        """Return the score in [0, 1] and the judgement of each video, in their order.

        A trainer's mixed precision is disabled meanwhile, so scores are those of `cac score`.
        """
        import torch

        with torch.autocast(self.model.model.device.type, enabled=False):
            judgements = self.model.judge(videos, batch_size)
        return [(self.model.score(judgement), judgement) for judgement in judgements]


def pin(uri: str, device: str = "cpu") -> PinnedModel:
    """Load a registered version onto a device; an alias is resolved now and never again.

    Args:
        uri: `models:/NAME@ALIAS` or `models:/NAME/NUMBER`.
        device: as PyTorch names it.

    Raises:
        CacError: there is no such version or device, or the version's registration is not complete.
    """
    source = resolve_version(uri)
    pinned = _on_device(loading.load_model(source), source, device)
    _log.info("the reward is %s for this run (asked for: %s), on %s", source, uri, device)
    return pinned


def open_model(uri: str) -> PinnedModel:
    """Load a model by any URI that MLflow knows, also a version whose registration is not complete.

    Raises:
        CacError: there is no such model, or it is not a CaC model.
    """
    source = loading.resolve_source(uri)
    return PinnedModel(loading.load_model(source), source)


def pin_package(folder: Path, device: str = "cpu") -> PinnedModel:
    """Load a package folder onto a device, for machines without access to the registry.

    Raises:
        CacError: the folder is not a package, or there is no such device.
    """
    return _on_device(loading.load_package(folder), str(folder), device)


def _on_device(model: "RewardModel", source: str, device: str) -> PinnedModel:
    try:
        model.model.to(device)
    except (RuntimeError, AssertionError) as error:  # the latter where PyTorch was built without CUDA
        reason = str(error).splitlines()[0]
        raise CacError(f"the model cannot be put on the device {device!r}: {reason}. Name cpu, or cuda:N.") from error
    return PinnedModel(model, source)
