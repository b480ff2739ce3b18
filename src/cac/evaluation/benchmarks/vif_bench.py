"""Skyra's ViF-Bench (arXiv 2512.15693): is a clip real or generated; where records have evidence, when and where.

Read from the JSON and JSONL files in the folder: the index, `{"Real": [folders], GENERATOR: [folders]}`, and records as
the importer `skyra` reads them. A real clip and its fakes share a folder name. "Fake" is compared with our verdict
"anomalous". Entries of `full-videos` are skipped, as in the benchmark's own evaluation.
"""

from pathlib import Path

from cac.data.exchange.interchange import ImportedClip, merge_clips
from cac.data.exchange.label_map import LabelMap, require_all_mapped
from cac.data.exchange.readers import read_source
from cac.evaluation.benchmarks.questions import Reading, YesNo

TASK = "real or fake"
_SKIPPED = "full-videos"


def read(folder: Path, label_map: LabelMap) -> Reading:
    """Return a question for each clip.

    Raises:
        CacError: there is no JSON file, one is of another form, or the label map lacks a label.
    """
    clips = read_source("skyra", folder)
    require_all_mapped(
        label_map, (annotation for clip in clips for annotation in clip.annotations), None, "--label-map"
    )
    reading = Reading()
    for clip in merge_clips(clips):
        if _SKIPPED in clip.video:
            reading.skipped[f"in `{_SKIPPED}`"].append(clip.video)
            continue
        problem = _problem(clip, label_map)
        if problem:
            reading.refused[problem].append(clip.video)
        else:
            reading.questions.append(_question(clip))
    return reading


def _problem(clip: ImportedClip, label_map: LabelMap) -> str | None:
    """Return why a clip has no truth that can be relied on, if there is a reason."""
    reasons = [*([clip.unusable] if clip.unusable else []), *clip.refused, *label_map.unknown_parts(clip.unknown)]
    if not reasons and clip.verdict is None:
        reasons = ["called neither real nor fake"]
    return reasons[0] if reasons else None


def _question(clip: ImportedClip) -> YesNo:
    anomalous = clip.verdict == "anomalous"
    generator = (clip.generator or "unknown") if anomalous else None
    evidence = clip if clip.annotations else None
    return YesNo(clip.video, TASK, clip.video, anomalous, clip.pair_id or clip.video, generator, evidence)
