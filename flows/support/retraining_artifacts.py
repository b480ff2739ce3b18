"""What a retraining shows in Prefect besides its steps: how the new version stands to the champion, and the outcome.

All of it is for people; nothing is decided by it but whether the champion must be measured anew.
"""

from dataclasses import dataclass

from prefect.artifacts import create_markdown_artifact

from cac.io.git import read_git
from cac.params import Params
from flows.support.artifacts import rivals, show_versions
from flows.support.dataset_artifact import show_dataset_diff
from flows.support.git_worktree import Worktree


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


def show_new_data(tree: Worktree) -> None:
    """Show what changed since the data that the commit's dvc.lock was made with."""
    lock, pointer = (read_git(tree.project, "show", f"{tree.commit}:{name}") for name in ("dvc.lock", "data.dvc"))
    show_dataset_diff(tree.project, lock, pointer or "", tree.commit, tree.commit)


def show_rivals(params: Params, challenger: str) -> Rivals:
    """Show a registered version beside the champion, and return who they are."""
    new, old = rivals(params, challenger)
    show_versions(params, new, old)
    return Rivals(challenger, old.version if old else None, bool(old and old.evaluation_set != new.evaluation_set))


def show_outcome(tree: Worktree, outcome: str) -> None:
    """Show what came of a retraining and where its results are."""
    text = (
        f"{outcome}.\n\nTrained: commit `{tree.commit}`. Results: `{tree.head}` on the branch `{tree.branch}`.\n\n"
        f"To have them in the current folder: `git merge {tree.branch} && dvc pull`"
    )
    create_markdown_artifact(text, key="retraining", description="What came of the retraining")
