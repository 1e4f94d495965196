"""Measurements that `recover` knows: by dense Gaussian matrices, by rank-one matrices, of entries, of Fourier coefficients."""

from __future__ import annotations

from typing import Any

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array
from lowrank_la.factor import _dense
from lowrank_la.recovery._operators import Dense, EntryMask, Fourier, Measurements, RankOne


def dense_gaussian(count: int, shape: tuple[int, int], *, like: Array | None = None, rng: _random.RNG = None) -> Measurements:
    """Draw N matrices A_l of independent standard normal numbers.

    Parameters
    ----------
    count : int, count >= 1
        N, how many.
    shape : (m, n)
        Of the matrix that is measured.
    like : array, optional
        The matrices take its namespace, device and real dtype; by default those of a NumPy array in float64.
    rng : None, int or numpy.random.Generator
        An int gives the same matrices on every backend.

    Returns
    -------
    Measurements
        With `shape` (N, m, n), `apply`, `adjoint_matmat` and `adjoint_rmatmat`.

    Raises
    ------
    ValueError
        A count or a length is below 1.
    TypeError
        A count or a length is no integer, or `like` is no array.

    Notes
    -----
    Memory: 8 N m n bytes; 2 N m n flops for each product. A `like` in single precision takes half the memory, and five times the time
    where y is double: tiles are widened as they are read. The numbers are kept because to draw them takes 50 times as long as to
    use them. Measurements by matrices of your own need no function: `recover` takes them as an array (N, m, n).

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.recovery import dense_gaussian
    >>> op = dense_gaussian(100, (8, 6), rng=0)
    >>> op.apply(np.ones((8, 2)), np.ones((6, 2))).shape
    (100,)
    """
    N = _checks.integer("dense_gaussian", "count", count, 1)
    m, n = _shape("dense_gaussian", shape)
    random = _random.host_generator(_random.seed_of("dense_gaussian", rng), "dense_gaussian")
    A = random.standard_normal((N, m, n))
    if like is None:
        return Dense(A)
    door, [like] = _arrays.enter("dense_gaussian", like=like)
    return Dense(door.xp.astype(_arrays.from_numpy(A, like), door.real_dtype, copy=False))


def rank_one(a: Array, b: Array | None = None) -> Measurements:
    """Measure by matrices A_l = a_l b_l^H: y_l = a_l^H M b_l.

    Parameters
    ----------
    a : array (N, m)
        Rows a_l; real or complex.
    b : array (N, n), optional
        Rows b_l; `a` by default.

    Returns
    -------
    Measurements
        With `shape` (N, m, n), `apply`, `adjoint_matmat` and `adjoint_rmatmat`.

    Raises
    ------
    ValueError
        The shapes do not fit, or an entry is NaN or infinite.
    TypeError
        An argument is no dense array of numbers, or they belong to different libraries.

    Notes
    -----
    Memory: the two arrays, not copied; 2 N k (m + n) flops for each product with factors of k columns.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.recovery import rank_one
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.standard_normal((50, 8)), rng.standard_normal((50, 6))
    >>> U, V = rng.standard_normal((8, 2)), rng.standard_normal((6, 2))
    >>> y = rank_one(a, b).apply(U, V)
    >>> bool(abs(y[7] - a[7] @ U @ V.T @ b[7]) < 1e-12)
    True
    """
    _, [a, b] = _dense.enter("rank_one", a=a, b=a if b is None else b)
    for name, x in (("a", a), ("b", b)):
        _checks.ndim("rank_one", name, x, 2)
    _checks.rows_like("rank_one", "b", b, a.shape[0], "a")
    return RankOne(a, b)


def entry_mask(rows: Array, cols: Array, *, shape: tuple[int, int]) -> Measurements:
    """Measure single entries: y_l = M[rows_l, cols_l].

    Parameters
    ----------
    rows, cols : integer arrays (N,)
        Ids from 0; a place may come several times.
    shape : (m, n)
        Of the matrix that is measured.

    Returns
    -------
    Measurements
        With `shape` (N, m, n), `apply`, `adjoint_matmat` and `adjoint_rmatmat`.

    Raises
    ------
    ValueError
        The lengths differ, are 0, or an id is out of range.
    TypeError
        The ids are no integers, or belong to different libraries.

    See Also
    --------
    lowrank_la.complete : alternating least squares, for many entries and noise rather than gross errors.

    Notes
    -----
    Cost: 2 N k flops for each product; memory 48 N bytes.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.recovery import entry_mask
    >>> U, V = np.arange(6.0).reshape(3, 2), np.ones((4, 2))
    >>> entry_mask(np.array([0, 2]), np.array([1, 3]), shape=(3, 4)).apply(U, V)
    array([1., 9.])
    """
    return EntryMask(*_places("entry_mask", rows, cols, shape))


def fourier(rows: Array, cols: Array, *, shape: tuple[int, int]) -> Measurements:
    """Measure coefficients of the unitary two-dimensional Fourier transform: y_l = fft2(M, norm="ortho")[rows_l, cols_l].

    Parameters
    ----------
    rows, cols : integer arrays (N,)
        Frequencies from 0 to m - 1 and to n - 1.
    shape : (m, n)
        Of the matrix that is measured.

    Returns
    -------
    Measurements
        With `shape` (N, m, n), `apply`, `adjoint_matmat` and `adjoint_rmatmat`; the measurements are complex.

    Raises
    ------
    ValueError
        The lengths differ, are 0, or a frequency is out of range.
    TypeError
        The frequencies are no integers, or belong to different libraries.

    Notes
    -----
    Cost: transforms of the k columns of both factors, and 8 N k flops. The transform of a low-rank matrix is one of low rank: this is
    completion of the transformed matrix: it needs a matrix whose energy is spread over many frequencies.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.recovery import fourier
    >>> rng = np.random.default_rng(0)
    >>> U, V = rng.standard_normal((8, 2)), rng.standard_normal((6, 2))
    >>> y = fourier(np.array([3]), np.array([5]), shape=(8, 6)).apply(U, V)
    >>> bool(abs(y - np.fft.fft2(U @ V.T, norm="ortho")[3, 5]) < 1e-12)
    True
    """
    return Fourier(*_places("fourier", rows, cols, shape))


def _shape(function: str, shape: Any) -> tuple[int, int]:
    try:
        m, n = shape
    except (TypeError, ValueError):
        raise ValueError(f"{function}: shape must be two integers (m, n); got {shape!r}") from None
    return _checks.integer(function, "shape[0]", m, 1), _checks.integer(function, "shape[1]", n, 1)


def _places(function: str, rows: Array, cols: Array, shape: Any) -> tuple[Array, Array, tuple[int, int]]:
    shape = _shape(function, shape)
    like = _arrays.enter(function, rows=rows)[1][0]
    places = [_arrays.beside(function, name, x, like) for name, x in (("rows", rows), ("cols", cols))]
    for name, x, length in zip(("rows", "cols"), places, shape, strict=True):
        _checks.ndim(function, name, x, 1)
        _checks.not_empty(function, name, x)
        _checks.ids(function, name, x, length)
    _checks.rows_like(function, "cols", places[1], places[0].shape[0], "rows")
    xp = _arrays.namespace(*places)
    rows, cols = (xp.astype(x, xp.int64) for x in places)
    return rows, cols, shape
