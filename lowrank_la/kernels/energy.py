"""Sum of the squared absolute values of a matrix, in float64, in one pass.

BLAS offers the same sum in the precision of the matrix, where sixteen million float32 values
lose half their digits, and only for contiguous memory. A value that is not finite shows in the answer.
"""

from __future__ import annotations

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import row_energy
from lowrank_la.kernels._engine import Kernel

CHUNK = 1 << 13  # numbers that one thread adds up, so that the answer does not depend on how many there are


def reference(A: Array) -> float:
    """Return the sum of |a|^2 over a dense array."""
    xp = _arrays.namespace(A)
    total = 0.0
    for _, block in _arrays.row_blocks(A):
        parts = [xp.real(block), xp.imag(block)] if xp.isdtype(block.dtype, "complex floating") else [block]
        total += sum(float(xp.sum(xp.astype(part, xp.float64, copy=False) ** 2)) for part in parts)
    return total


def cpu(A: np.ndarray) -> float:
    """Add up contiguous memory as rows of one length; other layouts and dtypes take the reference."""
    if not (A.flags.forc and A.flags.aligned and A.dtype.char in "fdFD" and A.dtype.isnative):
        return reference(A)
    memory = A.ravel(order="K")
    memory = memory.view(memory.real.dtype) if np.iscomplexobj(memory) else memory
    whole = memory.size // CHUNK * CHUNK
    rest = memory[whole:].astype(np.float64, copy=False)
    rows = float(np.sum(row_energy.cpu(memory[:whole].reshape(-1, CHUNK)))) if whole else 0.0
    return rows + float(np.vdot(rest, rest))


squared_norm = Kernel(reference, cpu)
