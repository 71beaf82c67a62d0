"""What does a user see while a verb works?

Never much more than a second without a sign of life on stderr: `Bar` is tqdm's, whose clock goes on
while cells are compiled and computed; where nothing is counted it is all that there is
(`options.awake`).
"""

import threading
from typing import Any

from tqdm import tqdm

__all__ = ["CLOCK", "EVERY", "Bar"]

EVERY = 0.5  # seconds: what follows one line and goes before the next takes one itself
CLOCK = "{desc}: {elapsed}"


class Bar(tqdm):
    """A bar whose clock goes on between two updates."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._closed = threading.Event()
        threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        while not self._closed.wait(EVERY):
            self.last_print_t = self._time()  # by which tqdm knows that there is something to clear
            self.refresh()

    def close(self) -> None:
        """As tqdm's."""
        if hasattr(self, "_closed"):  # which one that failed to open has not
            self._closed.set()
        super().close()
