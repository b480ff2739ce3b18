"""Joining a benchmark's questions with the judged videos: the answered ones, and a line of predictions for each."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cac.data.exchange.interchange import CONTRADICTION
from cac.data.exchange.label_map import LabelMap
from cac.evaluation.benchmarks.judged_file import Judged
from cac.evaluation.benchmarks.located import find_evidence, located_result
from cac.evaluation.benchmarks.naming import is_exact, named_options, naming_results
from cac.evaluation.benchmarks.preferences import preference_results
from cac.evaluation.benchmarks.questions import FIRST, SECOND, TIE, Naming, Pair, Question, Reasons, YesNo
from cac.evaluation.benchmarks.results import Result
from cac.evaluation.benchmarks.verdicts import is_flagged, verdict_results

_PREFERRED = {FIRST: "first", SECOND: "second", TIE: "tie"}
_WORDS = {True: "anomalous", False: "clean"}


@dataclass
class Answers:
    """The questions whose videos were all judged, by kind, with their judgements; the others by reason."""

    verdicts: list[tuple[YesNo, Judged]] = field(default_factory=list)
    naming: list[tuple[Naming, Judged]] = field(default_factory=list)
    pairs: list[tuple[Pair, Judged, Judged]] = field(default_factory=list)
    unanswered: Reasons = field(default_factory=lambda: defaultdict(list))

    def __len__(self) -> int:
        """Return how many questions are answered."""
        return len(self.verdicts) + len(self.naming) + len(self.pairs)


def answer(questions: list[Question], judged: Mapping[str, Judged]) -> Answers:
    """Return the answers.

    Args:
        questions: of the benchmark.
        judged: a video's name in the benchmark → its judgement.
    """
    answers, contradicted = Answers(), _contradicted(questions, judged)
    for question in questions:
        clips = [judged[name] for name in question.videos if name in judged]
        if len(clips) < len(question.videos):
            answers.unanswered["a video is missing or cannot be read"].append(question.name)
        elif isinstance(question, Pair):
            answers.pairs.append((question, clips[0], clips[1]))
        elif isinstance(question, Naming):
            answers.naming.append((question, clips[0]))
        elif (question.task, clips[0].sha256) in contradicted:
            answers.unanswered[CONTRADICTION].append(question.name)
        else:
            answers.verdicts.append((question, clips[0]))
    return answers


def _contradicted(questions: list[Question], judged: Mapping[str, Judged]) -> set[tuple[str, str]]:
    """Return (task, content) of the clips that one task calls both clean and anomalous."""
    truths: dict[tuple[str, str], set[bool]] = defaultdict(set)
    for question in questions:
        if isinstance(question, YesNo) and question.video in judged:
            truths[question.task, judged[question.video].sha256].add(question.anomalous)
    return {key for key, said in truths.items() if len(said) > 1}


def measure(answers: Answers, label_map: LabelMap) -> tuple[list[Result], Reasons]:
    """Return the results of all tasks, and the names of the clips whose evidence cannot be used, by reason."""
    results: list[Result] = verdict_results(answers.verdicts) if answers.verdicts else []
    unlocated: Reasons = {}
    if any(question.evidence for question, _ in answers.verdicts):
        evidence = find_evidence(answers.verdicts, label_map)
        located, unlocated = located_result(evidence), evidence.unlocated
        results += [located] if located else []
    results += preference_results(answers.pairs)
    results += naming_results(answers.naming) if answers.naming else []
    return results, unlocated


def predictions(answers: Answers) -> Iterator[dict[str, Any]]:
    """Yield what was asked and answered, a JSON-ready line for each question."""
    for question, judged in answers.verdicts:
        right = is_flagged(judged, question.anomalous) == question.anomalous
        truth = {"truth": _WORDS[question.anomalous], "answer": _word(judged), "right": right, "score": judged.score}
        yield {"question": question.name, "task": question.task, "video": question.video, **truth}
    for naming, judged in answers.naming:
        named = named_options(naming, judged)
        yield {
            "question": naming.name,
            "task": naming.task,
            "video": naming.video,
            "truth": [option.label for option in naming.options if option.is_right],
            "answer": [option.label for option in named],
            "leaf": judged.judgement.leaf,
            "right": is_exact(naming, named),
        }
    for pair, first, second in answers.pairs:
        truth = {respect: _PREFERRED[preference] for respect, preference in pair.preferences.items()}
        scores = [first.score, second.score]
        yield {"question": pair.name, "videos": list(pair.videos), "truth": truth, "scores": scores}


def _word(judged: Judged) -> str | None:
    return judged.judgement.verdict if judged.judgement.parsed else None
