"""What kernels that walk once over a tall matrix share: flat views of any layout, and a fixed split of the rows.

A sum over rows is split into parts whose number depends on the sizes alone, and the parts
are added in order: the answer does not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np

from lowrank_la._arrays import Array

MOST_PARTS = 64
FEW_PARTS = 16
PARTS_BYTES = 1 << 25  # beyond this, more parts than FEW_PARTS cost more in memory than they bring


def is_plain(*arrays: Array) -> bool:
    """Say whether the compiled loops take these arrays: float32 or float64 in the byte order of the host."""
    return all(x is None or (x.dtype.char in "fd" and x.dtype.isnative) for x in arrays)


def flat(x: np.ndarray) -> tuple[np.ndarray, int, int, int]:
    """View the memory under a matrix as a read-only vector: (memory, index of x[0, 0], row stride, column stride).

    One type for every layout means one compilation. Strides count elements and may be zero
    or negative. Only memory that is not made of whole aligned elements is copied.
    """
    size = x.itemsize
    if x.size == 0 or not x.flags.aligned or any(stride % size for stride in x.strides):
        x = np.array(x, order="C")
    steps = [stride // size for stride in x.strides]
    reach = [(length - 1) * step for length, step in zip(x.shape, steps, strict=True)]
    below = sum(min(r, 0) for r in reach)
    span = sum(max(r, 0) for r in reach) - below + 1 if x.size else 0
    corner = x[tuple(slice(-1, None) if step < 0 else slice(0, 1) for step in steps)]
    memory = np.lib.stride_tricks.as_strided(corner, (span,), (size,), writeable=False)
    return memory, -below, steps[0], steps[1]


def weights(scale: np.ndarray | None) -> np.ndarray:
    """Give row weights as a contiguous float64 vector, empty for none."""
    memory = np.empty(0) if scale is None else np.ascontiguousarray(scale, dtype=np.float64)
    return flat(memory[:, None])[0]


def parts_of(tiles: int, part_bytes: int, all_bytes: int) -> int:
    """Count the parts of a sum over tiles of rows; the sums of more than two may take a quarter of the memory of the matrix."""
    wanted = min(MOST_PARTS, max(FEW_PARTS, PARTS_BYTES // part_bytes))
    return max(1, min(wanted, max(2, all_bytes // (4 * part_bytes)), tiles))
