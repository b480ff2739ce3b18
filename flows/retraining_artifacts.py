"""What a retraining shows in Prefect: how the data changed, how the new version stands to the champion, the outcome.

All of it is for people; nothing is decided by it but whether the champion must be measured anew.
"""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from cac.data.versions.comparing import Comparison, Listed, compare, count_changes
from cac.errors import CacError
from cac.git import read_git
from cac.layout import DATASET
from cac.params import Params
from cac.registry.aliases import CHAMPION
from flows.worktree import Worktree, md5_in

if TYPE_CHECKING:
    from cac.registry.listing import Listed as Version

_SHOWN = 20  # clips of a kind that are named


@dataclass(frozen=True)
class Rivals:
    """Two versions by number; `champion` is None if there is none.

    Attributes:
        on_other_clips: whether the champion was measured on other clips than the challenger.
    """

    challenger: str
    champion: str | None
    on_other_clips: bool

    @property
    def is_decided(self) -> bool:
        """Whether the challenger is the champion already, so there is nothing left to object to."""
        return self.challenger == self.champion


def show_dataset_diff(tree: Worktree) -> None:
    """Show what changed since the data that the commit's dvc.lock was made with."""
    text = _dataset_diff(tree)
    create_markdown_artifact(text, key="dataset-diff", description="What changed in the data since the last training")


def _dataset_diff(tree: Worktree) -> str:
    from cac.data.versions.revisions import read_version

    try:
        before = _trained_on(tree)
        if before is None:
            return "No earlier commit has the data of the last training, if there was one: all of it is new."
        found = compare(*(read_version(commit, tree.project / DATASET) for commit in (before, tree.commit)))
    except CacError as error:
        return f"The versions cannot be compared: {error}"
    return _describe(found)


def _trained_on(tree: Worktree) -> str | None:
    """Return the newest commit up to this one whose data.dvc names what the commit's dvc.lock was made with."""
    lock = read_git(tree.project, "show", f"{tree.commit}:dvc.lock")
    deps = yaml.safe_load(lock).get("stages", {}).get("validate", {}).get("deps", []) if lock else []
    md5 = next((dep["md5"] for dep in deps if dep["path"] == DATASET.as_posix()), None)
    commits = read_git(tree.project, "log", "--format=%H", tree.commit, "--", "data.dvc") or ""
    pointers = ((commit, read_git(tree.project, "show", f"{commit}:data.dvc")) for commit in commits.split())
    return next((commit for commit, pointer in pointers if pointer and md5_in(pointer) == md5), None)


def _describe(found: Comparison) -> str:
    changed = (*found.replaced, *found.relabelled)
    lines = [
        f"From {found.before} to {found.after}: {len(found.added)} added, {len(found.removed)} removed, "
        f"{len(found.replaced)} replaced, {len(found.relabelled)} relabelled, {found.unchanged} unchanged.",
        *_named("added", found.added),
        *_named("removed", found.removed),
        *(f"- {name}: changed in {count} clips" for name, count in count_changes(changed).items()),
    ]
    return "\n".join(lines)


def _named(change: str, clips: tuple[Listed, ...]) -> list[str]:
    lines = [f"- {change}: {one.clip_id} ({one.split}, {', '.join(one.leaves) or 'clean'})" for one in clips[:_SHOWN]]
    return lines + ([f"- {change}: {len(clips) - _SHOWN} more"] if len(clips) > _SHOWN else [])


def show_rivals(params: Params, challenger: str) -> Rivals:
    """Show the numbers of a registered version beside the champion's, and a link to it, and return who they are."""
    from cac.registry.listing import list_versions

    versions = list_versions(params)
    new = next(one for one in versions if one.version == challenger)
    old = next((one for one in versions if CHAMPION in one.aliases), None)
    description = f"Version {challenger} beside the champion, each on the test split it was measured on"
    create_table_artifact(_rows(new, old), key="champion-challenger", description=description)
    _link(params.registry.model_name, challenger)
    return Rivals(challenger, old.version if old else None, bool(old and old.evaluation_set != new.evaluation_set))


def _rows(new: "Version", old: "Version | None") -> list[dict[str, str]]:
    facts = [("version", new.version, old.version if old else "none")]
    for name, value in new.metrics.items():
        facts.append((name, _number(value), _number(old.metrics[name] if old else None)))
    facts += [("data", new.data_md5[:8], old.data_md5[:8] if old else "–")]
    facts += [("code", new.git_commit[:8], old.git_commit[:8] if old else "–")]
    return [{"": name, "challenger": challenger, "champion": champion} for name, challenger, champion in facts]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _link(model: str, version: str) -> None:
    """Link the version's page, where MLflow is a server that has pages."""
    server = os.environ["MLFLOW_TRACKING_URI"]
    if server.startswith("http"):
        create_link_artifact(f"{server}/#/models/{model}/versions/{version}", key="version", link_text="In MLflow")


def show_outcome(tree: Worktree, outcome: str) -> None:
    """Show what came of a retraining and where its results are."""
    text = (
        f"{outcome}.\n\nTrained: commit `{tree.commit}`. Results: `{tree.head}` on the branch `{tree.branch}`.\n\n"
        f"To have them in the current folder: `git merge {tree.branch} && dvc pull`"
    )
    create_markdown_artifact(text, key="retraining", description="What came of the retraining")
