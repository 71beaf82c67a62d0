"""Is XLA compiling right now, and how long may it take?

JAX says when a program has been lowered, which is when XLA begins, and when it is compiled. From
0.1 to 5 s of lowering followed 1 to 150 s of compiling, in 20 programs of `analyze`, `path` and
`sweep` on a busy machine with two cores: between 5 and 33 times as long, 14 times in the median.

After two minutes XLA writes that compiling is slow, with stars around it and advice that is of no
use here. It cannot be told not to, except by a level of its log at which real errors are lost too;
so while compiling takes that long what XLA writes goes through a process that leaves these lines
out, and nothing else.

>>> spoken(14.2), spoken(3.0), spoken(66.0)
('about 10 s', 'about 3 s', 'about 70 s')
"""

import os
import subprocess
import sys
import threading
import time
from typing import Any, NamedTuple

__all__ = ["listen", "spoken", "words"]

TRACED = "/jax/core/compile/jaxpr_trace_duration"
LOWERED = "/jax/core/compile/jaxpr_to_mlir_module_duration"
COMPILED = "/jax/core/compile/backend_compile_duration"
RATIO = 14.0  # of the seconds that compiling takes to those of lowering
SHORT = 1.0  # seconds of compiling that nobody needs to hear of
ALARM = 100.0  # seconds after which XLA is about to write, at 120
# A process that passes on what comes, less the lines of XLA's alarm. What ends without a newline,
# like a bar, is passed on at once unless it may become one of these.
FILTER = rb"""
import os, re
alarm = re.compile(rb"slow_operation_alarm|^\*{16,}\s*$|ery slow compile\?|^Slow compile\?"
                   rb"|^The operation took |^\[Compiling module ")
begun = re.compile(rb"^([EWIF]\d{4} |\d{4}-\d\d-\d\d |\*|\[Comp|The op|V)")
rest, left_out = b"", False
while chunk := os.read(0, 65536):
    *lines, rest = (rest + chunk).split(b"\n")
    out = b""
    for line in lines:
        left_out = bool(alarm.search(line)) or (left_out and not line)
        out += b"" if left_out else line + b"\n"
    if not begun.match(rest):
        out, rest = out + rest, b""
    while out:
        out = out[os.write(1, out):]
os.write(1, b"" if alarm.search(rest) else rest)
"""


class _Compilation(NamedTuple):
    """One that goes on.

    begun: on the clock that only goes forward. expected: seconds that it may take.
    """

    begun: float
    expected: float


class _Silencer:
    """What goes to the file of errors, 2, goes through FILTER between `start` and `stop`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None
        self._kept = -1

    def start(self) -> None:
        if self._process is not None:
            return
        self._kept = os.dup(2)
        command = [sys.executable, "-I", "-S", "-c", FILTER.decode()]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=self._kept, start_new_session=True
        )
        assert self._process.stdin is not None
        os.dup2(self._process.stdin.fileno(), 2)
        self._process.stdin.close()

    def stop(self) -> None:
        if self._process is None:
            return
        os.dup2(self._kept, 2)
        os.close(self._kept)
        self._process.wait()
        self._process = None


_going: dict[int, _Compilation] = {}  # by thread
_silencer = _Silencer()
_listening = threading.Event()


def listen() -> None:
    """From now on, hear of what JAX compiles."""
    if _listening.is_set():
        return
    _listening.set()
    import jax

    jax.monitoring.register_event_duration_secs_listener(_heard)


def _heard(event: str, duration_secs: float, **_: Any) -> None:
    """What JAX says, in the thread that it compiles in."""
    thread = threading.get_ident()
    if event == LOWERED:
        _going[thread] = _Compilation(time.monotonic(), RATIO * duration_secs)
    elif event in (COMPILED, TRACED):  # some are lowered only, to be looked at
        _going.pop(thread, None)
        if not _going:
            _silencer.stop()


def words() -> str:
    """What is to be said of the compiler now, as a bar asks every now and then; "" for nothing."""
    now = time.monotonic()
    going = max(_going.copy().values(), key=lambda one: now - one.begun, default=None)
    if going is None or now - going.begun < SHORT:
        return ""
    if now - going.begun > ALARM:
        _silencer.start()
    if now - going.begun > 1.5 * going.expected:
        return "compiling, longer than expected"
    return f"compiling, {spoken(max(going.expected, SHORT))}"


def spoken(seconds: float) -> str:
    """A time with one digit, for it is known no better."""
    return f"about {float(f'{seconds:.1g}'):g} s"
