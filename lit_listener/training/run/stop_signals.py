"""Ctrl-C and SIGTERM ask a training to stop where nothing is lost; a second Ctrl-C stops it at once."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class StopSignals:
    """Calls a function at the first of the signals, as long as it is installed.

    Args:
        ask: called with no arguments, between any two instructions of the main thread.
        tell: whether to say in the terminal what is going to happen.
    """

    def __init__(self, ask: Callable[[], None], *, tell: bool) -> None:
        self._ask = ask
        self._tell = tell
        self._before: dict[signal.Signals, Any] = {}
        self.received: signal.Signals | None = None
        """The first signal that came."""
        self.insisted = False
        """Whether a second Ctrl-C would end the program at once."""

    def install(self) -> None:
        """Take the signals over; in the main thread alone, since others cannot."""
        if threading.current_thread() is not threading.main_thread() or self._before:
            return
        for number in _NAMES:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as for a program that nohup started
                self._before[number] = signal.signal(number, self._handle)

    def remove(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first, self.received = self.received is None, self.received or signal.Signals(number)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self.insisted = True
        self._ask()
        if first and self._tell:
            again = " (again: at once, back to the last checkpoint)" if number == signal.SIGINT else ""
            said = f"\n{_NAMES[self.received]}: stopping after this optimizer step, with nothing lost{again}\n"
            os.write(2, said.encode())  # print could be in the middle of another one
