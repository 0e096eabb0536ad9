"""Suppression within the levels of the pyramid."""

import numpy as np

from mtcnn.boxes import FloatArray, IntArray
from mtcnn.faces import margin_of


def peaks(margins: FloatArray, threshold: float) -> tuple[IntArray, IntArray]:
    """Rows and columns of the cells that greedy suppression at IoU 0.5 keeps of margins (rows, columns), in order.

    Only cells with a score above `threshold` count, and -inf is no cell. All boxes of a level have the same size, so
    those with an IoU above 0.5 are the eight neighbours of a cell. Each round keeps every cell that no neighbour beats,
    of equal ones the first, and removes these: the greedy outcome.
    """
    rows, columns = margins.shape
    # With a border of nothing, every cell has eight neighbours.
    left = np.full((rows + 2, columns + 2), -np.inf, np.float32)
    left[1:-1, 1:-1] = np.where(margins > margin_of(threshold), margins, -np.inf)
    flat, width = left.ravel(), columns + 2
    before = np.array([-width - 1, -width, -width + 1, -1])
    around = np.concatenate([before, -before])
    waiting = np.flatnonzero(flat > -np.inf)
    kept = []
    while waiting.size:
        here = flat[waiting]
        first = here > flat[waiting[:, None] + before].max(axis=1)
        best = waiting[first & (here >= flat[waiting[:, None] - before].max(axis=1))]
        kept.append(best)
        flat[best] = -np.inf
        flat[best[:, None] + around] = -np.inf
        waiting = waiting[flat[waiting] > -np.inf]
    found = np.sort(np.concatenate(kept)) if kept else np.zeros(0, np.int64)
    return found // width - 1, found % width - 1
