"""Orthogonal matching pursuit with any support, and when to stop it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate
from lowrank_la.factor import _dense
from lowrank_la.sbl import _oracle
from lowrank_la.sbl._columns import columns, indices, scattered
from lowrank_la.sbl._evidence import outer
from lowrank_la.sbl._oracle import SparseResult
from lowrank_la.sbl._problem import square
from lowrank_la.tensors import _modes

EXACT = 1e-12  # a residual below this share of the data is rounding


def omp(y: Array, A: Array | Sequence[Array], *, n_nonzero: int | None = None, tol: float | None = None) -> SparseResult:
    """Choose columns of A one by one, by orthogonal matching pursuit.

    Each step adds the column with the largest correlation with the residual, summed over snapshots, and
    fits all chosen columns anew, by updating a QR factorization.

    Parameters
    ----------
    y : array (m,) or (m, L), real or complex
        Measurements; snapshots share their support.
    A : array (m, N), or sequence of arrays (M_i, N_i)
        Dictionary, or factors of kron(A_1, ..., A_I), which is not formed. Columns need not have length one.
    n_nonzero : int, 1 <= n_nonzero <= min(m, N), optional
        Number of columns. With `tol`: at most.
    tol : float, 0 <= tol < 1, optional
        Stop when the residual is at most tol ||y||. If both are None, as many columns are taken as pay: see Notes.

    Returns
    -------
    SparseResult
        x : array (N,) or (N, L). support : tuple of one array of indices, in ascending order.
        certificate : bounds ||y - A x||, rounding errors included.

    Raises
    ------
    TypeError
        y or A is no dense array of numbers.
    ValueError
        Shapes do not fit, an entry is not finite, or an option is out of range.

    Notes
    -----
    Cost: two passes over A to begin, then one a step (m N L products; for factors, mode products of tensors of sizes m and N) and m k
    for the update. Memory: an m x k array; A is not copied unless its dtype is not double. The columns that are chosen depend on the
    data alone, no randomness is involved. Columns that depend on those in use are passed over.

    With neither `n_nonzero` nor `tol`, up to m / 2 columns are chosen, of which the first k are kept where
    n log ||y - fit||^2 + p log n + 2 k log N is least [2]_, with n numbers in y and p in the solution.

    References
    ----------
    .. [1] Pati, Rezaiifar and Krishnaprasad, Orthogonal matching pursuit, Asilomar 1993.
    .. [2] Chen and Chen, Extended Bayesian information criteria for model selection with large model spaces, Biometrika 95, 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.sbl import omp
    >>> A = np.random.default_rng(0).standard_normal((40, 100))
    >>> omp(3 * A[:, 7] - A[:, 50], A).support[0]
    array([ 7, 50])
    """
    door, y, dictionary = _enter(y, A)
    m, n = dictionary.shape
    stop, xp = _stop(n_nonzero, tol, m, n), _arrays.namespace(y)
    Y = _arrays.wide(xp.reshape(y, (m, -1)))
    chosen, Q = _pursue(dictionary, Y, stop)
    B = dictionary.columns(chosen)
    fit = _oracle.measured(Y, _arrays.solve_triangular(_dense.adjoint(Q) @ B, _dense.adjoint(Q) @ Y), [B], 0.0)
    small = fit.norm <= stop.tol * math.sqrt(square(Y))
    return SparseResult(
        x=door.leave(xp.reshape(scattered(fit.X, chosen, n), (n, *y.shape[1:]))),
        support=(door.leave_wide(indices(sorted(chosen), Y)),),
        residual_norm=fit.norm,
        n_iter=len(chosen),
        converged=small or stop.pays or len(chosen) == n_nonzero,
        certificate=Certificate(_oracle.CLAIM, fit.bound, 1.0, "residual"),
    )


class _Dictionary:
    """The columns of kron(A_1, ..., A_I), of which only those that are chosen are written out."""

    def __init__(self, factors: list[Array]) -> None:
        self.factors = [_arrays.wide(a) for a in factors]
        self.rows, self.widths = tuple(a.shape[0] for a in factors), tuple(a.shape[1] for a in factors)
        self.shape = math.prod(self.rows), math.prod(self.widths)

    def weights(self) -> Array:
        """Return 1 / ||column||^2, and 0 for a zero column."""
        lengths = outer([_column_squares(a) for a in self.factors])
        xp, lengths = _arrays.namespace(lengths), _arrays.namespace(lengths).reshape(lengths, (-1,))
        return xp.where(lengths > 0, 1 / xp.where(lengths > 0, lengths, xp.ones_like(lengths)), xp.zeros_like(lengths))

    def powers(self, R: Array) -> Array:
        """Return |a^H R|^2 of all columns."""
        xp = _arrays.namespace(R)
        if len(self.factors) == 1:  # a product with R^H, where A^H would copy a complex A
            return xp.sum(xp.abs(_dense.adjoint(R) @ self.factors[0]) ** 2, axis=0)
        T = _modes.multiply_all(xp.reshape(R, (*self.rows, -1)), [_dense.adjoint(a) for a in self.factors])
        return xp.reshape(xp.sum(xp.abs(T) ** 2, axis=-1), (-1,))

    def columns(self, chosen: Sequence[int]) -> Array:
        """Return columns."""
        tuples = np.unravel_index(np.asarray(chosen, dtype=np.int64), self.widths)
        product = columns(self.factors[0], tuples[0].tolist())
        for a, s in zip(self.factors[1:], tuples[1:], strict=True):
            product = product[:, None, :] * columns(a, s.tolist())[None, :, :]
            product = _arrays.namespace(product).reshape(product, (product.shape[0] * product.shape[1], len(chosen)))
        return product


def _enter(y: Array, A: Array | Sequence[Array]) -> tuple[Door, Array, _Dictionary]:
    """Check the data.

    Raises
    ------
    TypeError
        There is no factor, or y or A is no dense array of numbers.
    ValueError
        Shapes do not fit, or an entry is not finite.
    """
    if isinstance(A, tuple | list) and A and all(_arrays.is_array(a) for a in A):
        names = [f"A[{i}]" for i in range(len(A))]
    else:
        names, A = ["A"], [A]
    door, (y, *factors) = _dense.enter("omp", y=y, **dict(zip(names, A, strict=True)))
    for name, a in zip(names, factors, strict=True):
        _checks.ndim("omp", name, a, 2)
    dictionary = _Dictionary(factors)
    _checks.rows_like("omp", "y", _checks.ndim("omp", "y", y, (1, 2)), dictionary.shape[0], "A")
    return door, y, dictionary


def _column_squares(A: Array) -> Array:
    xp = _arrays.namespace(A)
    squares = xp.zeros((A.shape[1],), dtype=xp.float64, device=A.device)
    for _, rows in _arrays.row_blocks(A):
        squares = squares + xp.sum(xp.real(rows) ** 2 + xp.imag(rows) ** 2 if _dense.is_complex(A) else rows * rows, axis=0)
    return squares


@dataclass(frozen=True)
class Stop:
    """Columns at most, the residual that is small enough, and whether only as many are kept as pay."""

    most: int
    tol: float
    pays: bool


def criterion(energy: float, size: int, parameters: int, choices: float, *, exact: float) -> float:
    """Return n log energy + p log n + 2 log(number of supports); energies below `exact` are rounding."""
    return size * math.log(max(energy, exact, 1e-300)) + parameters * math.log(size) + 2 * choices


def _stop(n_nonzero: int | None, tol: float | None, m: int, n: int) -> Stop:
    least = min(m, n)
    if n_nonzero is not None:
        n_nonzero = _checks.integer("omp", "n_nonzero", n_nonzero, 1, least)
    if tol is not None:
        return Stop(n_nonzero or least, _checks.real("omp", "tol", tol, 0, 1), pays=False)
    if n_nonzero is not None:
        return Stop(n_nonzero, EXACT, pays=False)
    return Stop(min(least, max(m // 2, 1)), EXACT, pays=True)


def _pursue(dictionary: _Dictionary, Y: Array, stop: Stop) -> tuple[list[int], Array]:
    """Return the columns in the order in which they are chosen, and the orthonormal basis of them that Gram and Schmidt find."""
    weights = free = dictionary.weights()
    xp, energy, Q, R = _arrays.namespace(Y), square(Y), dictionary.columns([]), Y
    chosen, energies = [], [energy]
    while len(chosen) < stop.most and energies[-1] > stop.tol**2 * energy:
        score = dictionary.powers(R) * free
        k = int(xp.argmax(score))
        if not float(score[k]) > 0:
            break
        free = xp.where(xp.arange(free.shape[0], device=free.device) == k, xp.zeros_like(free), free)
        q = dictionary.columns([k]) * xp.sqrt(weights[k])
        for _ in range(2):
            q = q - Q @ (_dense.adjoint(Q) @ q)
        length = float(xp.linalg.vector_norm(q))
        if length > 1e-10:
            q = q / length
            Q, R = xp.concat([Q, q], axis=1), R - q @ (_dense.adjoint(q) @ R)
            chosen, energies = [*chosen, k], [*energies, square(R)]
    count = _paying(energies, dictionary, Y) if stop.pays and energy > 0 else len(chosen)
    return chosen[:count], Q[:, :count]


def _paying(energies: list[float], dictionary: _Dictionary, Y: Array) -> int:
    """Return for how many columns the criterion is least."""
    numbers, exact = Y.shape[1] * (2 if _dense.is_complex(Y) else 1), EXACT**2 * energies[0]
    m, n = dictionary.shape
    values = [criterion(e, numbers * m, numbers * k, k * math.log(n), exact=exact) for k, e in enumerate(energies)]
    return values.index(min(values))
