"""One progress bar a phase: tqdm on a terminal, a calm log line every few seconds elsewhere (`ray job logs`, CI)."""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

log = logging.getLogger(__name__)

LOG_SECONDS = 15.0
TICK_SECONDS = 1.0


class _Lines:
    """The plain form: a line at most every LOG_SECONDS with count, rate and time left."""

    def __init__(self, total: int, label: str, unit: str) -> None:
        self.total, self.label, self.unit = total, label, unit
        self.count, self.text = 0, ""
        self.start = self.last = time.monotonic()

    def update(self, count: int = 1) -> None:
        self.count += count
        now = time.monotonic()
        if now - self.last >= LOG_SECONDS and self.count < self.total:
            self.last = now
            self._line(now)

    def note(self, text: str) -> None:
        self.text = text

    def close(self) -> None:
        self._line(time.monotonic())

    def _line(self, now: float) -> None:
        seconds = max(now - self.start, 1e-9)
        rate = self.count / seconds
        pace = f"{rate:.4g}/s" if rate >= 1 or not self.count else f"{1 / rate:.3g} s each"
        left = f", {max(self.total - self.count, 0) / rate:.0f} s left" if 0 < self.count < self.total else ""
        note = f" | {self.text}" if self.text else ""
        log.info(
            "%s: %d/%d %s, %s, %.0f s%s%s",
            self.label, self.count, self.total, self.unit, pace, seconds, left, note,
        )  # fmt: skip


class _Bar:
    """The terminal form, a tqdm bar whose clock goes on while nothing finishes: an epoch may take minutes."""

    def __init__(self, total: int, label: str, unit: str) -> None:
        self.bar = tqdm(
            total=total, desc=label, unit=unit.removesuffix("s"), dynamic_ncols=True, smoothing=0.1
        )
        self.closed = threading.Event()
        threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        while not self.closed.wait(TICK_SECONDS):
            self.bar.refresh()

    def update(self, count: int = 1) -> None:
        self.bar.update(count)

    def note(self, text: str) -> None:
        self.bar.set_postfix_str(text, refresh=False)

    def close(self) -> None:
        self.closed.set()
        self.bar.close()


Progress = _Lines | _Bar


@contextmanager
def progress(total: int, label: str, unit: str) -> Iterator[Progress]:
    """Show how far a phase of `total` units is; yields an object with `update(count)` and `note(text)`."""
    terminal = _on_terminal()
    bar: Progress = _Bar(total, label, unit) if terminal else _Lines(total, label, unit)
    # Log lines stand above the bar, not in it.
    with logging_redirect_tqdm() if terminal else nullcontext():
        try:
            yield bar
        finally:
            bar.close()


def _on_terminal() -> bool:
    """Whether there is a terminal that a bar can be drawn on: some, as of containers, have no width."""
    try:
        return sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except OSError:
        return False
