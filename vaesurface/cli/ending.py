"""What happens when somebody wants the program to end before it is done?

SIGTERM, which Slurm and Kubernetes send some time before they kill, is taken for Ctrl-C: what is
finished is kept, claims are given back. Where the program is in the middle of compiling it cannot
do even that, and ends after a while as it is: chunks are whole at any moment, and claims of a
process that is gone are anyone's.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import util
from types import SimpleNamespace

__all__ = ["INTERRUPTED", "TERMINATED", "WORDS", "asked_to_end", "leave"]

INTERRUPTED, TERMINATED = 130, 143  # exit codes: 128 and the signal's number
WORDS = "interrupted; finished chunks are kept, run again to go on"
PATIENCE = 10.0  # seconds: Slurm and Kubernetes have 30 before they kill


@contextmanager
def asked_to_end() -> Iterator[SimpleNamespace]:
    """Make SIGTERM a KeyboardInterrupt; yields something that says by `terminated` whether it
    came.
    """
    asked = SimpleNamespace(terminated=False)
    if threading.current_thread() is not threading.main_thread():  # which alone hears signals
        yield asked
        return

    def interrupt(*_: object) -> None:
        asked.terminated = True
        raise KeyboardInterrupt

    # Signals are handled between two steps of the interpreter, but written to a pipe at once.
    reading, writing = os.pipe()
    if hasattr(os, "set_blocking"):  # not on Windows before Python 3.12, where a pipe may block
        os.set_blocking(writing, False)
    before = signal.signal(signal.SIGTERM, interrupt)
    waking = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    left = threading.Event()
    threading.Thread(target=_watch, args=(reading, left), daemon=True).start()
    try:
        yield asked
    finally:
        left.set()
        signal.set_wakeup_fd(waking)
        signal.signal(signal.SIGTERM, before)
        os.close(writing)


def leave(code: int) -> None:
    """End without waiting for what computes and cannot be stopped: threads of ours, and JAX's own,
    under which Python would even crash; where there are none Python ends as usual.
    """
    ours = any(thread.name.startswith("ThreadPoolExecutor") for thread in threading.enumerate())
    if ours or "jaxlib" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        if not ours:
            util._exit_function()  # type: ignore[attr-defined] # as usual, lest semaphores stay
        os._exit(code)


def _watch(reading: int, left: threading.Event) -> None:
    """End the program some time after SIGTERM if it has not heard of it by then."""
    while received := os.read(reading, 1):
        if received[0] == signal.SIGTERM and not left.wait(PATIENCE):
            os.write(2, f"vaesurface: {WORDS}\n".encode())
            os._exit(TERMINATED)
    os.close(reading)
