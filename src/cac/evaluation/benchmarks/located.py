"""Metrics of when and where, for benchmarks with evidence: V-STaR's mAM and mLGM, and what they are made of.

The evidence becomes anomalies as in an import, through the label map; clips whose evidence does not fit them are named
and not measured here. The metrics are those of `cac evaluate`.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from cac.data.exchange.convert import convert
from cac.data.exchange.label_map import LabelMap
from cac.evaluation.benchmarks.bootstrap import interval_of, resampled_weights
from cac.evaluation.benchmarks.judged_file import Judged
from cac.evaluation.benchmarks.questions import Reasons, YesNo
from cac.evaluation.benchmarks.results import Result
from cac.evaluation.benchmarks.verdicts import is_flagged
from cac.evaluation.facts import clip_facts
from cac.evaluation.metrics import METRICS
from cac.schema.annotations import Anomaly, Clip

TASK = "when and where"
NAMES = ("mam", "mlgm", "accuracy", "temporal_iou", "spatial_iou", "joint_accuracy", "family_accuracy", "leaf_accuracy")


@dataclass
class Evidence:
    """The clips whose anomalies are known, with their judgements, and the names of the others by reason."""

    clips: list[Clip] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    unlocated: Reasons = field(default_factory=lambda: defaultdict(list))


def find_evidence(answered: Sequence[tuple[YesNo, Judged]], label_map: LabelMap) -> Evidence:
    """Return the clean clips, and the anomalous ones whose evidence fits them."""
    found = Evidence()
    for question, judged in answered:
        if question.evidence is None and question.anomalous:
            found.unlocated["no evidence"].append(question.name)
            continue
        done = convert(question.evidence, judged.info, label_map) if question.evidence else None
        problems = [*done.refused, *([] if done.anomalies else ["all that it names is ignored"])] if done else []
        if problems:
            found.unlocated[problems[0]].append(question.name)
            continue
        found.clips.append(_clip(question, judged, done.anomalies if done else ()))
        found.judged.append(judged)
    return found


def located_result(found: Evidence) -> Result | None:
    """Return the metrics; None if no anomalous clip has evidence."""
    anomalous = [not clip.is_clean for clip in found.clips]
    if not any(anomalous):
        return None
    judgements, scores = [one.judgement for one in found.judged], [one.score for one in found.judged]
    flagged = [is_flagged(judged, truth) for judged, truth in zip(found.judged, anomalous, strict=True)]
    facts = clip_facts(found.clips, judgements, scores)
    all_right = facts.all_right * facts.parsed
    facts = replace(facts, flagged=np.array(flagged, dtype=float), all_right=all_right)
    weights = resampled_weights([clip.pair_id for clip in found.clips], anomalous)
    values = {name: interval_of(METRICS[name](facts, weights)) for name in NAMES}
    metrics = {name: one for name, one in values.items() if one["value"] is not None}
    return Result(TASK, None, len(found.clips), metrics)


def _clip(question: YesNo, judged: Judged, anomalies: tuple[Anomaly, ...]) -> Clip:
    info = judged.info
    return Clip(
        clip_id=question.name,
        path=judged.video,
        sha256=judged.sha256,
        fps=info.fps,
        frame_count=info.frame_count,
        width=info.width,
        height=info.height,
        source=question.task,
        generator=question.subset or "unknown",
        split="test",
        pair_id=question.group,
        anomalies=anomalies,
    )
