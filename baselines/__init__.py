"""The systems HARMONIC is compared with: one file each, under the same contract as `harmonic.method.Harmonic`.

Beside them stands what several share: `exchange` (tables as other packages take them), `arrays` and `modes` (tables as
networks take them), `network` (training one of our own), `watch` and `quiet` (training and hushing one of theirs).
"""
