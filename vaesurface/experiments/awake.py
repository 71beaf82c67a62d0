"""What does a user see while something works?

Never much more than a second without a sign of life on stderr, or below a cell of a notebook: `Bar`
is tqdm's, whose clock goes on while cells are compiled and computed, and which says when that is
the compiler (`compiling`); where nothing is counted it is all that there is (`awake`).
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm.auto import tqdm

from vaesurface.experiments import compiling

__all__ = ["CLOCK", "EVERY", "Bar", "awake"]

EVERY = 0.5  # seconds: what follows one line and goes before the next takes one itself
CLOCK = "{desc}: {elapsed}{postfix}"


_bars: list["Bar"] = []  # that are open, the last one last


class Bar(tqdm):
    """A bar whose clock goes on between two updates. Of several that are open the last one ticks:
    they are about parts of the same.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"position": 0} | options)
        if self.disable:
            return
        for bar in _bars[-1:]:
            bar.clear()
        _bars.append(self)
        self._closed = threading.Event()
        threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        while not self._closed.wait(EVERY):
            if not _bars or _bars[-1] is not self:
                continue
            self.set_postfix_str(compiling.words(), refresh=False)
            self.last_print_t = self._time()  # by which tqdm knows that there is something to clear
            self.refresh()

    def close(self) -> None:
        """As tqdm's."""
        if hasattr(self, "_closed"):  # which one that failed to open has not
            self._closed.set()
            _bars[:] = [bar for bar in _bars if bar is not self]
        super().close()


@contextmanager
def awake(what: str, after: float | None = None, **options: Any) -> Iterator[None]:
    """A line on stderr that says what goes on and for how long, and is gone afterwards; none where
    that is over at once, as errors are.

    after: seconds until it comes, EVERY if not said. options: of tqdm.
    """
    after = EVERY if after is None else after
    with Bar(desc=what, bar_format=CLOCK, leave=False, delay=after, **options):
        yield
