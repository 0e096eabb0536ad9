"""Without a terminal, progress is a few calm lines; on one, a bar."""

import contextlib
import logging
import os
import pty
import sys
import termios
import time
from collections.abc import Callable, Iterator

import pytest

from mtcnn import progress as module
from mtcnn.progress import progress


def test_elsewhere_than_on_a_terminal_it_says_seldom_how_far_it_is(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    with caplog.at_level(logging.INFO), progress(1000, "mine pnet", "units") as bar:
        for _ in range(1000):
            now += 0.125
            bar.update()
            bar.note("7 images")
    # 125 seconds: a line each 15 of them and one at the end.
    assert len(caplog.messages) == 9
    assert caplog.messages[0] == "mine pnet: 120/1000 units, 8/s, 15 s, 110 s left | 7 images"
    assert caplog.messages[-1] == "mine pnet: 1000/1000 units, 8/s, 125 s | 7 images"


def test_the_last_line_is_said_when_work_is_cut_short(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(KeyboardInterrupt), progress(9, "work", "units") as bar:
        bar.update(4)
        raise KeyboardInterrupt
    assert caplog.messages[-1].startswith("work: 4/9 units")


def test_nothing_to_do_is_no_division_by_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), progress(0, "work", "units"):
        pass
    assert caplog.messages[-1].startswith("work: 0/0 units")


@contextlib.contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, columns: int = 100) -> Iterator[Callable[[str], str]]:
    """Standard error is a terminal; yields what reads it until a text has come."""
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    termios.tcsetwinsize(slave, (30, columns))
    with os.fdopen(slave, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)

        def written(wanted: str) -> str:
            stream.flush()
            text, end = "", time.monotonic() + 10
            while wanted not in text and time.monotonic() < end:
                with contextlib.suppress(BlockingIOError):
                    text += os.read(master, 1 << 16).decode().replace("\r", "\n")
                time.sleep(0.001)
            return text

        yield written
    os.close(master)


def test_on_a_terminal_it_is_a_bar_whose_clock_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TICK_SECONDS", 0.01)
    with terminal(monkeypatch) as written, caplog.at_level(logging.INFO):
        with progress(10, "train pnet", "epochs") as bar:
            bar.update(4)
            # Nothing finishes while this waits.
            assert "train pnet:  40%" in written("train pnet:  40%")
            bar.note("loss 0.1")
            bar.update(6)
        after = written("loss 0.1")
    assert "10/10" in after and "loss 0.1" in after
    assert not caplog.messages


def test_log_lines_stand_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as written:
        handler = logging.StreamHandler(sys.stderr)
        monkeypatch.setattr(logging.root, "handlers", [handler])
        with progress(10, "mine pnet", "units"):
            logging.warning("unit scenes-3, attempt 1 of 3")
        assert logging.root.handlers == [handler]
        assert "\nunit scenes-3, attempt 1 of 3\n" in written("attempt 1 of 3\n")


def test_a_terminal_without_width_gets_lines(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with terminal(monkeypatch, columns=0), caplog.at_level(logging.INFO), progress(3, "work", "units") as bar:
        bar.update(3)
    assert caplog.messages[-1].startswith("work: 3/3 units")


def test_what_takes_long_is_timed_one_by_one(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    with caplog.at_level(logging.INFO), progress(10, "train onet", "epochs") as bar:
        now = 90.0
        bar.update(2)
    assert caplog.messages[0] == "train onet: 2/10 epochs, 45 s each, 90 s, 360 s left"
