"""No long silence: clocks go on while nothing else happens, and bars open before compiling."""

import io
import time
from contextlib import nullcontext

import jax

from vaesurface import sweep
from vaesurface.cli import awake, options


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
    with options.awake("drawing"):
        pass
    assert not capsys.readouterr().err  # over before anybody wonders
    monkeypatch.setattr(awake, "EVERY", 0.01)
    with options.awake("drawing"):
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
