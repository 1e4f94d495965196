"""Dense sketches: independent entries, drawn while they are multiplied."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from lowrank_la import kernels
from lowrank_la._arrays import Array
from lowrank_la.sketching._operator import Sketch


class _Dense(Sketch):
    """Matrices with independent entries of variance 1/d."""

    _law: ClassVar[Literal["rademacher", "gaussian"]]

    def _sketch(self, A: Array, row_offset: int, scale: Array | None) -> Array:
        return kernels.dense.apply(A, self._law, self.seed, self._stream, self.shape[0], row_offset, scale)

    def _lift(self, Y: Array, first: int, last: int) -> Array:
        return kernels.dense.adjoint(Y, self._law, self.seed, self._stream, first, last)

    def _matrix(self, like: Array, cols: Array) -> Array:
        return kernels.dense.entries(like, self._law, self.seed, self._stream, self.shape[0], cols) / math.sqrt(self.shape[0])


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
    Cost: d n c / 2 additions: 32 random bits at a time pick sums of 4 rows from tables, which
    needs a quarter of the operations of a matrix product. Memory: the d x c sketch up to 32 times
    while it adds up, but at most an eighth of A beyond the first, and 2 MiB for each thread.
    For arrays that are neither NumPy's nor PyTorch's on the CPU: products with tiles of 32 MiB.
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

    _law = "rademacher"


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
    Cost: 2 d n c flops in register tiles, and d n normal deviates, which cost as much as 130
    columns. Memory as `Rademacher`. For Q with k orthonormal columns, S Q has the law of a Gaussian
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

    _law = "gaussian"
