"""Sketches with a few nonzeros per column."""

from __future__ import annotations

import math
from typing import Any

from lowrank_la import _arrays, _checks, _random, kernels
from lowrank_la._arrays import Array
from lowrank_la.sketching._operator import Sketch, _real


class SparseSign(Sketch):
    """Sparse-sign embedding: zeta nonzeros +-1/sqrt(zeta) in each column, one per block of d/zeta rows.

    Parameters
    ----------
    d : int, d >= 1
        Rows, rounded up to a multiple of zeta.
    n : int, n >= 0
        Columns: rows of the data.
    zeta : int, zeta >= 1
        Nonzeros per column, at most d.
    rng : None, int or numpy.random.Generator
        An int is the seed itself.

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or of the wrong type.

    Notes
    -----
    Cost: 2 zeta n c flops and one read of A; 2 zeta nnz flops for sparse A. Memory: the
    d x c sketch, up to 16 times while it adds up but at most an eighth of A beyond the
    first. The singular values of S Q, for Q with k orthonormal columns, lie close to
    1 -+ sqrt(k/d) already for zeta = 8, whatever the rows of Q; the proof asks for
    d of order k log k and zeta of order log k [1]_.

    References
    ----------
    .. [1] Cohen, Nearly tight oblivious subspace embeddings by trace inequalities,
       SODA 2016. The dimension; the block construction is the OSNAP of Nelson and Nguyen, FOCS 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.sketching import SparseSign
    >>> A = np.random.default_rng(0).standard_normal((10000, 5))
    >>> S = SparseSign(200, 10000, rng=0)
    >>> Y = S.apply(A)
    >>> bool(abs(np.linalg.norm(Y) / np.linalg.norm(A) - 1) < 0.1)
    True
    >>> halves = S.apply(A[:4000]), S.apply(A[4000:], row_offset=4000)
    >>> np.allclose(S.merge(*halves), Y)
    True
    """

    def __init__(self, d: int, n: int, *, zeta: int = 8, rng: _random.RNG = None) -> None:
        super().__init__(d, n, rng=rng)
        self.zeta = min(_checks.integer(type(self).__name__, "zeta", zeta, 1), self.shape[0])
        self.shape = (math.ceil(self.shape[0] / self.zeta) * self.zeta, self.shape[1])

    def apply_pair(self, A: Any, B: Array, *, row_offset: int = 0, scale: Array | None = None) -> tuple[Array, Array]:
        if not (_arrays.is_array(A) and A.ndim == B.ndim == 2 and A.dtype == B.dtype):
            return super().apply_pair(A, B, row_offset=row_offset, scale=scale)
        where = f"{type(self).__name__}.apply_pair"
        _checks.integer(where, "row_offset", row_offset)
        self._check_rows(where, A, row_offset, scale)
        _checks.rows_like(where, "B", B, A.shape[0], "A")
        door, (A, B, scale) = _arrays.enter(where, A=A, B=B, scale=scale)
        Y = kernels.sparse_sign.apply(A, *self._key, row_offset, _real(door.xp, scale), B)
        return door.leave(Y[:, : A.shape[1]]), door.leave(Y[:, A.shape[1] :])

    @property
    def _key(self) -> tuple[int, int, int, int]:
        return self.seed, self._stream, self.shape[0], self.zeta

    def _sketch(self, A: Array, row_offset: int, scale: Array | None) -> Array:
        return kernels.sparse_sign.apply(A, *self._key, row_offset, scale)

    def _sketch_sparse(self, A: Any, row_offset: int, scale: Array | None) -> Array:
        A = A.tocsr()
        return kernels.sparse_sign.apply_csr(A.data, A.indices, A.indptr, A.shape[1], *self._key, row_offset, scale)

    def _lift(self, Y: Array, first: int, last: int) -> Array:
        return kernels.sparse_sign.adjoint(Y, *self._key, first, last)

    def _matrix(self, like: Array, cols: Array) -> Array:
        return kernels.sparse_sign.matrix(like, *self._key, cols)


class CountSketch(SparseSign):
    """Clarkson-Woodruff embedding: one entry +-1 in each column.

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
    Cost: 2 n c flops. It keeps norms, but a subspace of dimension k only with d of order
    k^2 [1]_: for coherent data (a few heavy rows) and d of order k two heavy rows share a
    row of the sketch, which then loses rank. Prefer `SparseSign`.

    References
    ----------
    .. [1] Clarkson and Woodruff, Low rank approximation and regression in input sparsity
       time, STOC 2013.

    Examples
    --------
    >>> from lowrank_la.sketching import CountSketch
    >>> S = CountSketch(6, 1000, rng=1)
    >>> abs(S.block(cols=[0, 1, 2])).sum(axis=0)
    array([1., 1., 1.])
    """

    def __init__(self, d: int, n: int, *, rng: _random.RNG = None) -> None:
        super().__init__(d, n, zeta=1, rng=rng)
