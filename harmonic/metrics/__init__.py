"""Metrics: callables `(split, synthetic, *, seed, synthesizer=None) -> dict[str, float]`.

One that reads files of its own, such as a model, names them in `digest_inputs()`: other contents are another score.
"""
