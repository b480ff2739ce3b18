"""The benchmarks that can be evaluated on, by the names they have themselves."""

from collections.abc import Callable
from pathlib import Path

from cac.data.exchange.label_map import LabelMap
from cac.evaluation.benchmarks import artifact_bench, genai_bench, videogen_rewardbench, vif_bench
from cac.evaluation.benchmarks.questions import Reading

BENCHMARKS: dict[str, Callable[[Path, LabelMap], Reading]] = {
    "artifact-bench": artifact_bench.read,
    "videogen-rewardbench": videogen_rewardbench.read,
    "genai-bench": genai_bench.read,
    "vif-bench": vif_bench.read,
}
