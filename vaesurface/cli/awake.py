"""What does a user see while a verb works?

Never more than a second without a sign of life on stderr: `Bar` is tqdm's, whose clock goes on
while cells are compiled and computed, and `awake` a line with a clock where nothing is counted.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

__all__ = ["Bar", "awake"]

EVERY = 1.0  # seconds
CLOCK = "{desc}: {elapsed}"


class Bar(tqdm):
    """A bar whose clock goes on between two updates."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._closed = threading.Event()
        threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        while not self._closed.wait(EVERY):
            self.refresh()

    def close(self) -> None:
        """As tqdm's."""
        if hasattr(self, "_closed"):  # which one that failed to open has not
            self._closed.set()
        super().close()


@contextmanager
def awake(what: str) -> Iterator[None]:
    """A line that says what goes on and for how long, and is gone afterwards."""
    with Bar(desc=what, bar_format=CLOCK, leave=False):
        yield
