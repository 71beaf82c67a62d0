"""The loss surface of variational autoencoders.

A loss surface is a pure function of a pytree of parameters; every module here takes such a
function. Import the modules one by one (`from vaesurface import vae, stationary`): this one loads
nothing.
"""

from vaesurface import moved

__version__ = "0.1.0"

moved.install()
