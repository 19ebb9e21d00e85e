"""Where to write names beside points so that none covers another."""

import math
from collections.abc import Sequence

import numpy as np

RADII = (8.0, 11.0, 16.0, 24.0, 34.0, 46.0, 60.0, 76.0)
ANGLES = tuple(math.radians(degrees) for degrees in (0, 30, -30, 150, -150, 180, 90, -90, 60, -60, 120, -120))
PASSES = 4

Box = tuple[float, float, float, float]
"""Left, bottom, right, top."""


def place(
    anchors: np.ndarray, sizes: np.ndarray, bounds: Box, obstacles: Sequence[Box] = (), dot: float = 5.0
) -> np.ndarray:
    """The lower left corners of labels beside their anchors, shape (n, 2), all in one unit, such as pixels.

    Each label tries places around its anchor and takes the one that covers least of points, other labels and obstacles,
    near ones first; a few passes let early ones make room for late ones. The same points give the same places.

    Args:
        anchors: points, shape (n, 2).
        sizes: width and height of each label, shape (n, 2).
        bounds: what labels must not leave.
        obstacles: boxes that had better stay free, such as error bars.
        dot: half the side of a point.
    """
    n = len(anchors)
    if n == 0:
        return np.empty((0, 2))
    dots = [(x - dot, y - dot, x + dot, y + dot) for x, y in anchors]
    choices = [_around(anchors[i], sizes[i]) for i in range(n)]
    boxes: list[Box | None] = [None] * n
    crowd = [sum(math.dist(anchors[i], other) < 60 for other in anchors) for i in range(n)]
    for _ in range(PASSES):
        for i in sorted(range(n), key=lambda i: -crowd[i]):
            taken = [*dots, *(box for j, box in enumerate(boxes) if box is not None and j != i)]
            boxes[i] = min(choices[i], key=lambda pair: _cost(pair, taken, obstacles, bounds))[0]
    return np.array([box[:2] for box in boxes if box is not None])


def _around(anchor: np.ndarray, size: np.ndarray) -> list[tuple[Box, float]]:
    """Boxes around a point with their distances from it."""
    found = []
    for radius in RADII:
        for angle in ANGLES:
            x, y = anchor[0] + radius * math.cos(angle), anchor[1] + radius * math.sin(angle)
            left = x - size[0] * (1 - math.cos(angle)) / 2
            bottom = y - size[1] * (1 - math.sin(angle)) / 2
            found.append(((left, bottom, left + size[0], bottom + size[1]), radius))
    return found


def _cost(choice: tuple[Box, float], taken: Sequence[Box], obstacles: Sequence[Box], bounds: Box) -> float:
    box, radius = choice
    area = (box[2] - box[0]) * (box[3] - box[1])
    outside = area - overlap(box, bounds)
    covered = sum(overlap(box, other) for other in taken)
    return 100 * outside + 50 * covered + sum(overlap(box, other) for other in obstacles) + radius * area / 400


def overlap(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)
