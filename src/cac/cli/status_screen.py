"""The system's state on one screen: a title for each part, with coloured marks if the terminal has colours."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cac.registry.gate import GATE_METRICS
from cac.status.flow_runs import FlowRun
from cac.status.models import describe_status
from cac.status.overview import AT_WORK, IDLE, VETO_WINDOW, Overview
from cac.status.stages import FRESH, Stage

if TYPE_CHECKING:
    from cac.registry.listing import VersionSummary

_GOOD, _WARN, _BAD, _FAINT, _WORKING = "green", "yellow", "red", "bright_black", "cyan"
_COLOURS = {"COMPLETED": _GOOD, "FAILED": _BAD, "CRASHED": _BAD, "CANCELLED": _WARN, "CANCELLING": _WARN}
_WIDTH = 116
_REASONS = 3  # reasons to list for a stage; the others are counted
_METRICS = [metric for name, metric in GATE_METRICS.items() if name != "parse_rate"]


def print_screen(status: Overview) -> None:
    """Print the overview."""
    console = _console()
    now = datetime.fromisoformat(status.at)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    parts = {
        "Data": _data(status, now),
        "Stages": _stages(status.stages),
        "Models": _models(status, now),
        "Runs": _runs(status, now),
        "Retraining": _retraining(status),
        "Drift": _drift(status, now),
    }
    for title, shown in parts.items():
        grid.add_row(title, shown)
        grid.add_row()
    grid.add_row("Attention", _attention(status.attention))
    panel = Panel(grid, title=_title(status), title_align="left", border_style=_FAINT, padding=(1, 2), box=box.ROUNDED)
    console.print(panel)


def _console() -> Console:
    """Return a console as wide as the terminal, at most _WIDTH; in a log or a pipe exactly _WIDTH."""
    console = Console()
    return Console(width=min(_WIDTH, console.width) if console.is_terminal else _WIDTH)


def _title(status: Overview) -> Text:
    changes = {"true": " + changes", "false": "", "unknown": ""}[status.code.dirty]
    words = Text.assemble(("CaC", "bold"), f"  {status.root}  ")
    return words.append(f"{status.code.branch} {status.code.commit[:8]}{changes}", style=_FAINT)


def _mark(colour: str, words: str = "", faint: str = "") -> Text:
    return Text.assemble(("● ", colour), words, (f"  {faint}" if faint else "", _FAINT))


def _data(status: Overview, now: datetime) -> RenderableType:
    data = status.data
    clips = "no manifest here" if data.clips is None else f"{data.clips:,} clips"
    size = "" if data.size is None else f", {data.size / 1e6:,.1f} MB"
    states = {"as named": (_GOOD, ""), "differs": (_BAD, "  data/ DIFFERS"), "missing": (_WARN, "  data/ is missing")}
    colour, said = states[data.folder]
    first = _mark(colour, f"{data.md5.removesuffix('.dir')}  {clips}{size}{said}")
    if data.brought_by is None:
        return Group(first, Text("  data.dvc has uncommitted changes", style=_WARN))
    brought = data.brought_by
    second = Text(f"  brought by {brought.commit} {_ago(brought.at, now)}: {brought.subject}", style=_FAINT)
    second.truncate(_WIDTH - 24, overflow="ellipsis")
    return Group(first, second)


def _stages(stages: Iterable[Stage]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for stage in stages:
        colour = _WARN if stage.state != FRESH else _GOOD
        table.add_row(_mark(colour, stage.name), Text(stage.state, style="" if stage.state == FRESH else colour),
                      Text(_why(stage), style=_FAINT))  # fmt: skip
    return table if table.row_count else Text("no dvc.yaml", style=_FAINT)


def _why(stage: Stage) -> str:
    more = len(stage.why) - _REASONS
    why = ", ".join(stage.why[:_REASONS]) + (f" and {more} more" if more > 0 else "")
    return why or ("results are not in this checkout" if stage.missing else "")


def _models(status: Overview, now: datetime) -> RenderableType:
    if status.models is None:
        return _unknown(status, "models")
    rows = {
        "champion": status.models.champion,
        "previous": status.models.previous,
        "best": status.models.best,
        "challenger": status.models.challenger,
    }
    if not any(rows.values()):
        return _mark(_WARN, "no champion yet", f"{status.models.versions} versions in {status.models.source}")
    table = Table.grid(padding=(0, 2))
    columns = [metric.column for metric in _METRICS]
    headings = ("", "version", *columns, "code", "data", "made")
    for heading in headings:
        table.add_column(no_wrap=True, justify="right" if heading in columns else "left")
    table.add_row(*(Text(heading, style=_FAINT) for heading in headings))
    for role, version in rows.items():
        if version is not None:
            table.add_row(*_version(role, version, status, now))
    challenger = status.models.challenger
    if challenger is None:
        return table
    return Group(table, Text(f"  version {challenger.version}: {describe_status(challenger, now)}", style=_WARN))


def _version(role: str, version: "VersionSummary", status: Overview, now: datetime) -> list[RenderableType]:
    code = version.git_commit[:8] + ("+" if version.git_dirty == "true" else "")
    same = version.data_md5 == status.data.md5
    numbers = ["–" if (value := version.metrics.get(one.name)) is None else f"{value:.3f}" for one in _METRICS]
    colour = {"champion": _GOOD, "challenger": _WORKING}.get(role, _FAINT)
    data = Text(version.data_md5[:8] + ("" if same else " (other)"), style="" if same else _WARN)
    return [_mark(colour, role), version.version, *numbers, code, data, _ago(version.created, now)]


def _runs(status: Overview, now: datetime) -> RenderableType:
    if status.runs is None:
        return _unknown(status, "runs")
    if not status.runs.runs and status.runs.next_run is None:
        return Text(f"none yet in {status.runs.source}", style=_FAINT)
    table = Table.grid(padding=(0, 2))
    for run in status.runs.runs:
        table.add_row(*_run(run, now))
    if coming := status.runs.next_run:
        when = f"due {_ago(str(coming.started), now)}"
        table.add_row(_mark(_FAINT, coming.flow), Text(coming.state_name, style=_FAINT), Text(when, style=_FAINT), "")
    return table


def _run(run: FlowRun, now: datetime) -> list[RenderableType]:
    colour = _WORKING if run.is_active else _COLOURS.get(run.state, _FAINT)
    started = _ago(run.started, now) if run.started else "–"
    lasted = "" if run.seconds is None else ("for " if run.is_active else "took ") + _span(run.seconds)
    return [_mark(colour, run.flow), Text(run.state_name, style=colour), started, lasted, Text(run.name, style=_FAINT)]


def _retraining(status: Overview) -> RenderableType:
    state = status.retraining.state
    colour = {IDLE: _FAINT, AT_WORK: _WORKING, VETO_WINDOW: _WARN}.get(state, _WARN)
    return _mark(colour, state, status.retraining.detail)


def _drift(status: Overview, now: datetime) -> RenderableType:
    if "drift" in status.unknown:
        return _unknown(status, "drift")
    record = status.drift
    if record is None:
        return Text("production has not been monitored yet", style=_FAINT)
    colour = {"drift": _BAD, "no drift": _GOOD}.get(record.outcome, _FAINT)
    what = f"{record.outcome}{' in ' + ', '.join(record.drifted) if record.drifted else ''}"
    accepted = ", accepted since" if record.accepted else ""
    faint = f"{_ago(record.at, now)}, {record.clips} clips of {record.source}, version {record.model_version}{accepted}"
    return _mark(_FAINT if record.accepted else colour, what, faint)


def _unknown(status: Overview, part: str) -> Text:
    return _mark(_WARN, "unknown", status.unknown[part])


def _attention(lines: Iterable[str]) -> RenderableType:
    shown = [_mark(_WARN, line) for line in lines]
    return Group(*shown) if shown else _mark(_GOOD, "nothing")


def _ago(moment: str, now: datetime) -> str:
    """Return a moment relative to now, such as "3 h ago" or "in 5 min"."""
    passed = now - datetime.fromisoformat(moment)
    span = _span(abs(passed) / timedelta(seconds=1))
    return f"{span} ago" if passed >= timedelta() else f"in {span}"


def _span(seconds: float) -> str:
    """Return a duration in seconds, minutes, hours or days."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 90:
        return f"{minutes:.0f} min"
    hours = minutes / 60
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"
