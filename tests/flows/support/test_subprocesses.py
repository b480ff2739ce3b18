import os
import signal
import sys
import threading
import time

import pytest

from flows.support.subprocesses import SubprocessRunner


def python(program: str) -> tuple[str, ...]:
    return (sys.executable, "-u", "-c", program)


@pytest.fixture
def commands():
    return SubprocessRunner()


def test_lines_of_both_streams_are_shown_as_they_come(commands, tmp_path):
    shown = []
    program = "import sys; print('one'); print('two', file=sys.stderr); print('three', end='')"
    finished = commands.run(python(program), shown.append, tmp_path)
    assert shown == ["one", "two", "three"]
    assert (finished.code, finished.tail) == (0, ("one", "two", "three"))


def test_a_line_is_shown_before_the_command_ends(commands, tmp_path):
    """The command waits for a file that is made only once its first line was seen."""

    def answer(line: str) -> None:
        (tmp_path / "seen").touch()

    program = "import pathlib, time\nprint('first')\nwhile not pathlib.Path('seen').exists(): time.sleep(0.01)"
    assert commands.run(python(program), answer, tmp_path).code == 0


def test_a_progress_bar_is_one_line(commands, tmp_path):
    finished = commands.run(python("print('10 %\\r50 %\\r100 %')"), print, tmp_path)
    assert finished.tail == ("100 %",)


def test_output_that_is_no_utf8_is_shown(commands, tmp_path):
    finished = commands.run(python("import sys; sys.stdout.buffer.write(b'caf\\xe9\\n')"), print, tmp_path)
    assert finished.tail == ("caf\ufffd",)


def test_exit_code_and_signal_are_told(commands, tmp_path):
    assert commands.run(python("raise SystemExit(7)"), print, tmp_path).code == 7
    assert commands.run(python("import os; os.kill(os.getpid(), 9)"), print, tmp_path).code == -9


def interrupt_once_started(shown: list[str], times: int) -> None:
    while not shown:
        time.sleep(0.01)
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)


def run_interrupted(commands: SubprocessRunner, program: str, times: int, cwd):
    shown: list[str] = []
    sender = threading.Thread(target=interrupt_once_started, args=(shown, times))
    sender.start()
    with commands.stopped_by_signals():
        finished = commands.run(python(program), shown.append, cwd)
        sender.join()
    return finished


def test_ctrl_c_lets_the_command_end_by_itself(commands, tmp_path):
    program = (
        "import time\ntry:\n print('ready'); time.sleep(60)\n"
        "except KeyboardInterrupt:\n print('kept'); raise SystemExit(130)"
    )
    finished = run_interrupted(commands, program, 1, tmp_path)
    assert (finished.code, finished.tail) == (130, ("ready", "kept"))
    assert commands.interrupted


def test_a_second_ctrl_c_kills_a_command_that_does_not_listen(commands, tmp_path):
    program = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('ready'); time.sleep(60)"
    assert run_interrupted(commands, program, 2, tmp_path).code == -signal.SIGKILL


def test_nothing_is_started_after_an_interruption(commands, tmp_path):
    commands.interrupted = True
    commands.run(python("open('started', 'w')"), print, tmp_path)
    assert not (tmp_path / "started").exists()


def test_the_command_is_ended_when_showing_its_output_fails(commands, tmp_path):
    def refuse(line: str) -> None:
        raise RuntimeError(line)

    # It may inherit a Ctrl-C that is ignored, as below.
    program = (
        "import os, signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "print(os.getpid())\ntime.sleep(60)"
    )
    with pytest.raises(RuntimeError) as error:
        commands.run(python(program), refuse, tmp_path)
    with pytest.raises(ProcessLookupError):
        os.kill(int(str(error.value)), 0)


def test_signal_handlers_are_put_back(commands):
    before = signal.getsignal(signal.SIGINT)
    with commands.stopped_by_signals():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_a_command_whose_time_is_over_is_asked_to_end(commands, tmp_path):
    program = (
        "import signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "try:\n time.sleep(3600)\nexcept KeyboardInterrupt:\n print('kept'); raise SystemExit(130)"
    )
    # Tests that a script runs in the background inherit a Ctrl-C that is ignored, and so may the command. The limit is
    # long enough for Python to start on busy cores: a Ctrl-C before that ends it without a word. The sleep is longer
    # than a machine may stand still: once a minute passed in a moment, and the command had ended by itself.
    finished = commands.run(python(program), print, tmp_path, limit=10)
    assert (finished.code, finished.tail, finished.timed_out) == (130, ("kept",), True)
    assert not commands.interrupted


def test_one_that_does_not_listen_is_killed(commands, tmp_path, monkeypatch):
    monkeypatch.setattr("flows.support.subprocesses._GRACE_SECONDS", 0.2)
    program = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(3600)"
    finished = commands.run(python(program), print, tmp_path, limit=1)
    assert (finished.code, finished.timed_out) == (-signal.SIGKILL, True)


def test_one_that_ends_in_time_is_left_alone(commands, tmp_path):
    finished = commands.run(python("print('done')"), print, tmp_path, limit=60)
    assert (finished.code, finished.timed_out) == (0, False)


def test_the_time_limit_reaches_what_outlives_the_commands_first_process(commands, tmp_path):
    """As when DVC is killed for memory and its stage goes on, holding the output open."""
    program = "import os, subprocess; subprocess.Popen(['sleep', '600']); os.kill(os.getpid(), 9)"
    finished = commands.run(python(program), print, tmp_path, limit=0.5)
    assert (finished.code, finished.timed_out) == (-9, True)
