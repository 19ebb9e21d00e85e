"""HARMONIC: LLM table synthesis from nearest-neighbour instructions, and the benchmark around it."""
