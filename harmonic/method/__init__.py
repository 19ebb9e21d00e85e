"""HARMONIC itself: `harmonic.py` is the method, beside it stand its parts."""

from harmonic.method.harmonic import Harmonic
from harmonic.method.sampling import Sampling

__all__ = ["Harmonic", "Sampling"]
