"""The always-on program: camera and microphone in, avatar parameters out."""

import os

__version__ = "0.1.0"

# Our arrays are small, and the threads of older numpy's OpenBLAS wait for the next one in a loop that takes every core
# of the machine. It asks when it is loaded, so this comes before any import of numpy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
