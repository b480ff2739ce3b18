"""A judgement as a row of scores: the response of the server, and a row of batch scoring.

The columns equal those of the registered model. `registry/pyfunc_model.py` keeps a copy of its own on purpose: MLflow
copies it into each version, so the columns of a version never change.
"""

from typing import Any

from cac.schema.judgement import Judgement

COLUMNS = ("score", "verdict", "windows", "family", "leaf", "boxes", "evidence", "parsed")


def score_row(score: float, judgement: Judgement) -> dict[str, Any]:
    """Return the columns as plain data; windows and boxes only with an anomalous verdict.

    Windows are [start, end] in seconds; boxes {"time": seconds, "box": [x1, y1, x2, y2]}, coordinates in [0, 1].
    """
    anomalous = judgement.verdict == "anomalous"
    found = [finding for finding in judgement.findings if finding.box is not None]
    return {
        "score": score,
        "verdict": str(judgement.verdict),
        "windows": [list(window) for window in judgement.windows] if anomalous else [],
        "family": str(judgement.family) if judgement.family else None,
        "leaf": judgement.leaf,
        "boxes": [{"time": one.time, "box": list(one.box or ())} for one in found] if anomalous else [],
        "evidence": judgement.look_text,
        "parsed": judgement.parsed,
    }
