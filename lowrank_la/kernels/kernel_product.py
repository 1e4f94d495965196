"""k(X, Y) V in tiles, without the kernel matrix."""

from __future__ import annotations

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.kernels import kernel_entries
from lowrank_la.kernels._engine import Kernel

TILE = 1 << 22  # entries of a tile


def reference(X: Array, Y: Array, V: Array, family: str, numbers: tuple[float, ...]) -> Array:
    """Return the (m, k) product with V (n, k); X may be Y itself."""
    xp = _arrays.namespace(X, Y, V)
    height = max(1, TILE // max(1, Y.shape[0]))
    tiles = [kernel_entries.reference(block, Y, family, numbers) @ V for _, block in _arrays.row_blocks(X, height)]
    return xp.concat(tiles, axis=0) if tiles else xp.zeros((0, V.shape[1]), dtype=V.dtype, device=V.device)


apply = Kernel(reference)
