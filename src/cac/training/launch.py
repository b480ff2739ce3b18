"""`cac train` in several processes: the same command once more in each, through `accelerate launch`.

The file that `compute.accelerate` names says how many processes there are, on which machines, and how they divide the
model; `conf/accelerate/` has some. Nothing of what is trained depends on it but rounding.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cac.errors import CacError

_MARK = "CAC_LAUNCHED"  # accelerate itself marks only processes of which there are several


def is_launched() -> bool:
    """Tell whether this process is one of those that were started to train together."""
    return "LOCAL_RANK" in os.environ or _MARK in os.environ


def launch(config: Path, arguments: Sequence[str]) -> int:
    """Run `cac` with these arguments in every process that an accelerate config asks for.

    Returns:
        The exit code: 0, or that of the first process that failed. Its message has been printed by then.

    Raises:
        CacError: there is no such file, or accelerate cannot make sense of it.
    """
    if not config.is_file():
        raise CacError(f"compute.accelerate: no file at {config}. Name one such as conf/accelerate/ddp.yaml, or null.")
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    command = ["--config_file", str(config), "--module", "cac", *arguments]
    os.environ[_MARK] = "1"
    try:
        launch_command(launch_command_parser().parse_args(command))
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode  # negative: ended by that signal
    except subprocess.CalledProcessError as error:  # of a config with one process
        return error.returncode if error.returncode > 0 else 128 - error.returncode
    except (ValueError, TypeError, ConnectionError) as error:
        raise CacError(f"accelerate cannot start processes from {config}: {error}") from error
    return 0
