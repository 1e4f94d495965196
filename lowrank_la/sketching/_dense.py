"""Dense sketches: independent entries, generated a tile of columns at a time."""

from __future__ import annotations

import math
from abc import abstractmethod

from lowrank_la import _arrays, kernels
from lowrank_la._arrays import Array
from lowrank_la.sketching._operator import Sketch

_TILE_ENTRIES = 1 << 22  # of S, 32 MiB: the thread pools of Numba and BLAS get in each other's way at every change


class _Dense(Sketch):
    """Matrices with independent entries of variance 1/d."""

    @abstractmethod
    def _entries(self, like: Array, cols: Array) -> Array:
        """Columns of S sqrt(d) with the real dtype of `like`."""

    def _matrix(self, like: Array, cols: Array) -> Array:
        return self._entries(like, cols) / math.sqrt(self.shape[0])

    def _tiles(self, first: int, last: int) -> range:
        return range(first, last, max(1, _TILE_ENTRIES // self.shape[0]))

    def _tile(self, like: Array, first: int, tiles: range) -> Array:
        xp = _arrays.namespace(like)
        S = self._entries(like, xp.arange(first, min(first + tiles.step, tiles.stop), dtype=xp.int64, device=like.device))
        return xp.astype(S, like.dtype, copy=False)

    def _sketch(self, A: Array, row_offset: int, scale: Array | None) -> Array:
        xp = _arrays.namespace(A)
        Y = xp.zeros((self.shape[0], A.shape[1]), dtype=A.dtype, device=A.device)
        tiles = self._tiles(row_offset, row_offset + A.shape[0])
        for first in tiles:
            S = self._tile(A, first, tiles)
            rows = slice(first - row_offset, first - row_offset + S.shape[1])
            Y += (S if scale is None else S * xp.astype(scale[rows], A.dtype)) @ A[rows, :]
        return Y / math.sqrt(self.shape[0])

    def _lift(self, Y: Array, first: int, last: int) -> Array:
        xp = _arrays.namespace(Y)
        tiles = self._tiles(first, last)
        parts = [self._tile(Y, start, tiles).T @ Y for start in tiles]
        return xp.concat([*parts, Y[:0, :]]) / math.sqrt(self.shape[0])


class Rademacher(_Dense):
    """Dense sketch of independent signs +-1/sqrt(d).

    Parameters
    ----------
    d : int, d >= 1
        Rows.
    n : int, n >= 0
        Columns: rows of the data.
    rng : None, int or numpy.random.Generator
        An int is the seed itself.

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or of the wrong type.

    Notes
    -----
    Cost: 2 d n c flops by matrix products, and one random bit for each of the d n entries,
    which a Gaussian needs half a logarithm, root and cosine for. Memory: tiles of 32 MiB.
    The singular values of S Q lie in 1 -+ sqrt(k/d), as for a Gaussian sketch, up to a
    constant [1]_.

    References
    ----------
    .. [1] Achlioptas, Database-friendly random projections: Johnson-Lindenstrauss with
       binary coins, J. Comput. Syst. Sci. 66, 2003.

    Examples
    --------
    >>> from lowrank_la.sketching import Rademacher
    >>> S = Rademacher(4, 100, rng=0)
    >>> abs(S.block(cols=[0, 99]))
    array([[0.5, 0.5],
           [0.5, 0.5],
           [0.5, 0.5],
           [0.5, 0.5]])
    """

    def _entries(self, like: Array, cols: Array) -> Array:
        return kernels.dense.rademacher(like, self.seed, self._stream, self.shape[0], cols)


class Gaussian(_Dense):
    """Dense sketch of independent normal entries of variance 1/d.

    Parameters
    ----------
    d : int, d >= 1
        Rows.
    n : int, n >= 0
        Columns: rows of the data.
    rng : None, int or numpy.random.Generator
        An int is the seed itself.

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or of the wrong type.

    Notes
    -----
    Cost: 2 d n c flops by matrix products, and d n normal deviates, which often cost more.
    Memory: tiles of 32 MiB. For Q with k orthonormal columns, S Q has the law of a Gaussian
    matrix: its singular values lie in 1 -+ (sqrt(k/d) + t/sqrt(d)) but for a probability of
    2 exp(-t^2/2) [1]_. Entries agree between devices to about 1e-15, not bit by bit. None is
    beyond 6.7 standard deviations.

    References
    ----------
    .. [1] Davidson and Szarek, Local operator theory, random matrices and Banach spaces,
       Handbook of the Geometry of Banach Spaces I, 2001.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.sketching import Gaussian
    >>> S = Gaussian(50, 2000, rng=0)
    >>> x = np.ones(2000)
    >>> bool(abs(np.linalg.norm(S.apply(x)) / np.linalg.norm(x) - 1) < 0.5)
    True
    """

    def _entries(self, like: Array, cols: Array) -> Array:
        return kernels.dense.gaussian(like, self.seed, self._stream, self.shape[0], cols)
