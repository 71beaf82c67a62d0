"""Is a VAE collapsing while it trains, why, and what now?

A `Monitor` is fed with what a training loop has, of any framework: it keeps a series, warns once,
in a sentence, when latents switch off or will not switch on, and writes a small file that
`vaesurface report` turns into a page. NumPy inside; no JAX is imported.

    look = monitor.watch(x, model.encode, model.decode, gamma=gamma, path="run.jsonl")
    look(step)  # in the loop
    look.finish().label

`watching`: looks at a model when they are due; `for_lightning`, `for_keras`, `for_transformers`
and `for_scvi` do so where others train it. `reading`: what one look says. `course`: what several
say together. `words`: how it is told. `record`: the file. `loop`: the monitor. `whole`: the
diagnosis at the end.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> x, off = rng.standard_normal((256, 4)) * [3.0, 1.0, 1.0, 1.0], np.zeros((256, 2))
>>> monitor = Monitor()
>>> seen = monitor.update(0, x=x, mean=off, log_std=off, reconstruction=0 * x, gamma=1.0)
>>> monitor.state.split(":")[1]
' 0 of 2 latents in use since step 0, though a further one would gain 2.78 nats per datum'
"""

from vaesurface.monitor.course import Course, Phase, course
from vaesurface.monitor.loop import CollapseWarning, Monitor
from vaesurface.monitor.reading import Update
from vaesurface.monitor.record import Record, load
from vaesurface.monitor.watching import Watch, watch

__all__ = [
    "CollapseWarning",
    "Course",
    "Monitor",
    "Phase",
    "Record",
    "Update",
    "Watch",
    "course",
    "load",
    "watch",
]
