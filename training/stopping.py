"""Stop a run in good order: signals and time limits."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType

ONE_REQUEST_S = 2.0  # a launcher and a batch system may both forward one request


class StopRequest:
    """Remembers a request to stop; the loop asks after each iteration.

    The first SIGINT or SIGTERM is a request. One that comes more than 2 s later ends the process
    at once.

    Args:
        max_hours: request a stop after this time; None for never.
    """

    def __init__(self, max_hours: float | None) -> None:
        self.deadline = None if max_hours is None else time.monotonic() + 3600 * max_hours
        self.signal: int | None = None
        self.asked = 0.0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._remember)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal, self.asked = number, time.monotonic()
        elif time.monotonic() - self.asked > ONE_REQUEST_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    @property
    def wanted(self) -> bool:
        """Whether the run should stop after this iteration."""
        too_late = self.deadline is not None and time.monotonic() > self.deadline
        return self.signal is not None or too_late

    @property
    def status(self) -> int:
        """Exit status: 130 for SIGINT, 143 for SIGTERM, 0 for a time limit."""
        return 0 if self.signal is None else 128 + self.signal

    @property
    def reason(self) -> str:
        """Why the run stops, for the log."""
        return "time limit" if self.signal is None else signal.Signals(self.signal).name
