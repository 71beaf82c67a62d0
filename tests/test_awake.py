"""No long silence: clocks go on while nothing else happens, and bars open before compiling."""

import io
import subprocess
import sys
import time
from contextlib import nullcontext

import jax

from vaesurface import sweep
from vaesurface.experiments import awake, compiling


def test_the_clock_of_a_bar_goes_on_between_two_updates(monkeypatch):
    monkeypatch.setattr(awake, "EVERY", 0.01)
    stream = io.StringIO()
    with awake.Bar(total=2, file=stream) as bar:
        deadline = time.monotonic() + 30
        before = stream.tell()
        while stream.tell() == before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert stream.tell() > before
        bar.update(2)
    ended = stream.tell()
    time.sleep(0.05)
    assert stream.tell() == ended  # nothing is written to a bar that is closed


def test_what_goes_on_is_said_and_gone_afterwards(capsys, monkeypatch):
    with awake.awake("drawing"):
        pass
    assert not capsys.readouterr().err  # over before anybody wonders
    monkeypatch.setattr(awake, "EVERY", 0.01)
    with awake.awake("drawing"):
        time.sleep(0.5)
    said = capsys.readouterr().err
    assert "drawing: 00:00" in said
    assert said.rsplit("\r", 2)[-2].strip() == ""


def test_a_sweep_shows_its_bar_before_it_compiles():
    events = []

    class Progress(nullcontext):
        def __init__(self, total, initial, unit):
            super().__init__()
            events.append(("bar", total, initial, unit))

        def update(self, count):
            events.append(("cells", count))

    def compiled(name, *_, **__):
        if "backend_compile" in name:
            events.append("compiled")

    jax.monitoring.register_event_duration_secs_listener(compiled)
    try:
        sweep.grid(lambda a: a**2 + 0.5, a=[1.0, 2.0, 3.0], batch_size=3, progress=Progress)
    finally:
        jax.monitoring.unregister_event_duration_listener(compiled)
    assert events[0] == ("bar", 3, 0, "cell")
    assert "compiled" in events[1:-1]
    assert events[-1] == ("cells", 3)


def test_of_several_bars_the_last_one_ticks(monkeypatch):
    monkeypatch.setattr(awake, "EVERY", 0.01)
    outer, inner = io.StringIO(), io.StringIO()
    with awake.Bar(total=2, file=outer):
        with awake.Bar(total=2, file=inner):
            before = outer.tell()
            waited(lambda: inner.tell() > 100)
            assert outer.tell() == before
        waited(lambda: outer.tell() > before)


def waited(happened):
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_bar_says_that_xla_compiles_and_about_how_long(monkeypatch):
    monkeypatch.setattr(awake, "EVERY", 0.01)
    monkeypatch.setattr(compiling, "SHORT", 0.0)
    heard, told = [], compiling._heard

    def hear(event, duration_secs, **more):
        told(event, duration_secs, **more)
        if event == compiling.LOWERED:
            waited(lambda: "compiling, about" in stream.getvalue())
        heard.append((event, compiling.words()))

    stream = io.StringIO()
    jax.monitoring.register_event_duration_secs_listener(hear)
    try:
        with awake.Bar(total=1, file=stream):
            jax.jit(lambda x: x**3 + 0.25).lower(1.0).compile()
    finally:
        jax.monitoring.unregister_event_duration_listener(hear)
    assert [words for event, words in heard if event == compiling.COMPILED] == [""]


STARS = "*" * 32
ADVICE = f"""{STARS}
[Compiling module jit_f for CPU] Very slow compile? If you want to file a bug, run with envvar \
XLA_FLAGS=--xla_dump_to=/tmp/foo and attach the results.
{STARS}
"""
ALARM = f"""
E1130 10:46:51.596734    3320 slow_operation_alarm.cc:73]
{ADVICE}E1130 10:50:09.027959    3318 slow_operation_alarm.cc:140] The operation took 5m17.5s

{ADVICE}"""


def test_xlas_alarm_is_left_out_and_nothing_else():
    program = f"""
import os, subprocess, sys, time
from vaesurface.experiments.compiling import _silencer
os.write(2, b"before\\n")
_silencer.start()
sys.stderr.write("\\rworking: 01:40")
sys.stderr.flush()
os.write(2, {ALARM!r}.encode())
os.write(2, b"E0000 00:00:1 1 cuda.cc:1] no such device\\n* a list\\n")
_silencer.stop()
os.write(2, b"after\\n")
_silencer.start()
os.write(2, b"F0000 check failed")
os.abort()
"""
    command = [sys.executable, "-c", program.replace("\\\\", "\\")]
    ended = subprocess.run(command, capture_output=True)
    assert ended.returncode < 0
    assert ended.stderr.decode().split("\n") == [
        "before",
        "\rworking: 01:40",
        "E0000 00:00:1 1 cuda.cc:1] no such device",
        "* a list",
        "after",
        "F0000 check failed",
    ]
