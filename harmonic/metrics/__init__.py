"""Metrics: callables `(split, synthetic, *, seed, synthesizer=None) -> dict[str, float]`."""
