"""Veto: a person says no to a registered version before it becomes champion.

It is a tag of the version, so it holds whoever asks the gate next, and whenever: a check of the gate refuses the
version until `cac promote --despite-veto`. A retraining leaves a window for it; when that ends is a tag as well, so
whoever looks at the registry, on any machine, sees what waits. Left out: taking back what is champion already, which is
a rollback (`rollback.py`).
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from cac.errors import CacError
from cac.params import Params
from cac.registry.aliases import CHAMPION, VETO_TAG, VETO_UNTIL_TAG, aliases, version_of
from cac.registry.tracking import connect

_LONGEST_REASON = 2000  # characters


@dataclass(frozen=True)
class Veto:
    """Which version was vetoed, why, and when (ISO 8601, UTC)."""

    model_name: str
    version: str
    reason: str
    at: str


def veto(params: Params, version: str, reason: str) -> Veto:
    """Keep a version from being promoted; a second veto replaces the first one's reason.

    Raises:
        CacError: no reason is given, there is no such complete version, or it is the champion.
    """
    if not reason.strip() or len(reason) > _LONGEST_REASON:
        raise CacError(f"a veto needs a reason of 1 to {_LONGEST_REASON} characters: --reason 'what is wrong with it'.")
    client, name = connect(), params.registry.model_name
    found = version_of(client, name, version)
    if aliases(client, name).get(CHAMPION) == str(found.version):
        raise CacError(f"{name} version {version} is the champion already. Take it back: cac rollback --reason TEXT.")
    record = Veto(name, str(found.version), reason.strip(), datetime.now(UTC).isoformat(timespec="seconds"))
    client.set_model_version_tag(name, record.version, VETO_TAG, json.dumps(asdict(record), sort_keys=True))
    return record


def open_window(params: Params, version: str, seconds: int) -> str:
    """Write down until when a version waits for a veto, and return that moment (ISO 8601, UTC).

    Raises:
        CacError: there is no such complete version.
    """
    client, name = connect(), params.registry.model_name
    version_of(client, name, version)
    until = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="seconds")
    client.set_model_version_tag(name, version, VETO_UNTIL_TAG, until)
    return until
