"""Distributed `cac train`: runs the same command in several processes with `accelerate launch`.

The file in `compute.accelerate` sets the number of processes, their machines, and how they shard the model;
`conf/accelerate/` has examples. The result differs from that of one process by rounding only.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cac.errors import CacError

_LAUNCHED = "CAC_LAUNCHED"  # with one process accelerate sets no variable of its own


def is_launched() -> bool:
    """Return whether this process was started by `launch`."""
    return "LOCAL_RANK" in os.environ or _LAUNCHED in os.environ


def launch(config: Path, arguments: Sequence[str]) -> int:
    """Run `cac` with these arguments in every process of an accelerate config.

    Returns:
        The exit code: 0, or that of the first process that failed, which has printed its message.

    Raises:
        CacError: the file is missing, or accelerate cannot read it.
    """
    if not config.is_file():
        raise CacError(f"compute.accelerate: no file at {config}. Name one such as conf/accelerate/ddp.yaml, or null.")
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    command = ["--config_file", str(config), "--module", "cac", *arguments]
    os.environ[_LAUNCHED] = "1"
    try:
        launch_command(launch_command_parser().parse_args(command))
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode  # negative: killed by that signal
    except subprocess.CalledProcessError as error:  # with one process
        return error.returncode if error.returncode > 0 else 128 - error.returncode
    except (ValueError, TypeError, ConnectionError) as error:
        raise CacError(f"accelerate cannot start processes from {config}: {error}") from error
    return 0
