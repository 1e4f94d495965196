"""What `complete` returns."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np

from lowrank_la import _arrays, _checks, kernels
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate, Result


class Sweep(NamedTuple):
    """One sweep of alternating least squares, as the history keeps it and a callback sees it.

    Attributes
    ----------
    number : int
        Counts from 1 over the whole call, whatever the rank.
    rank : int
    train_rmse : float
        Root-mean-square residual of the training entries (of 131072 of them drawn at
        random, if there are more), in the units of the data.
    held_out_rmse : float
        The same of the held-out entries that decide when to stop; NaN without them.
    seconds : float
        Since the call began.
    """

    number: int
    rank: int
    train_rmse: float
    held_out_rmse: float
    seconds: float


@dataclass(frozen=True, repr=False)
class CompletionResult(Result):
    """A low-rank model of a matrix: entry (i, j) ~ mean + row_bias_i + col_bias_j + U_i . V_j.

    Attributes
    ----------
    U, V : arrays (m, k) and (n, k)
        Balanced: U^T U = V^T V is diagonal (only its diagonals agree if nonnegative).
    row_bias, col_bias : arrays (m,) and (n,)
        Zero unless `bias=True`.
    mean : float
    rank : int
        Columns of U and V.
    s : array (k,)
        Singular values of U V^T (norms of its terms if nonnegative).
    ridge : float
        The ridge of the last sweep, in the units of the data.
    history : tuple of Sweep
    converged : bool
    n_iter : int
        Sweeps, over all ranks tried.
    residual : float
        Root-mean-square residual over all entries given, held-out ones included, exact.
    stationarity : float
        How steep the objective of the last sweep still is at U and V: the norm of its gradient times that of the factors, over
        twice the weighted sum of squares of the entries; 0 at a stationary point. Of more than 131072 entries, rows and
        columns with about so many stand for all. Biases count as one more column of U and V.
    certificate : Certificate
        Bounds the root-mean-square error over the entries that were not fitted.
    held_out : tuple of integer arrays (rows, cols)
        The entries behind the certificate; nothing else looked at them.
    weak_rows, weak_cols : integer arrays
        Rows and columns with fewer training entries than the rank: only the ridge
        determines their factors. Those without any carry the average factor.
    outliers : tuple of integer arrays (rows, cols)
        Training entries more than 4 robust standard deviations off the model; empty for loss "l2".
    components : int
        Connected components of the graph that joins row i and column j if entry (i, j)
        was fitted; between two components nothing fixes the scale of predictions.
    incoherence : tuple of two floats
        m / k times the largest squared row norm of an orthonormal basis of U, and the
        same of V: 1 is best, m / k (n / k) is a matrix of spikes that sampling misses.
    """

    U: Array
    V: Array
    row_bias: Array
    col_bias: Array
    mean: float
    rank: int
    s: Array
    ridge: float
    history: tuple[Sweep, ...]
    converged: bool
    n_iter: int
    residual: float
    stationarity: float
    certificate: Certificate
    held_out: tuple[Array, Array] = field(repr=False)
    weak_rows: Array
    weak_cols: Array
    outliers: tuple[Array, Array] = field(repr=False)
    components: int
    incoherence: tuple[float, float]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return self.U.shape[0], self.V.shape[0]

    def predict(self, i: Array, j: Array) -> Array:
        """Return the model's entries at pairs of row and column ids.

        Parameters
        ----------
        i, j : integer arrays of one shape, or one of them an int
            Rows and columns.

        Returns
        -------
        array of that shape

        Raises
        ------
        ValueError
            An id is out of range, or the shapes do not fit.
        TypeError
            The ids are not integers.

        Notes
        -----
        Cost: 2 k flops a pair; no dense matrix is formed.
        """
        door, [left, right] = _arrays.enter("predict", U=self.U, V=self.V)
        xp, (m, n) = door.xp, self.shape
        i, j = (_arrays.beside("predict", name, ids, left) for name, ids in (("i", i), ("j", j)))
        for name, ids, length in (("i", i, m), ("j", j, n)):
            _checks.ids("predict", name, ids, length)
        i, j = xp.broadcast_arrays(i, j)
        rows, cols = (xp.asarray(xp.reshape(ids, (-1,)), copy=True) for ids in (i, j))  # kernels do not take views with stride 0
        pairs = kernels.pairs.predict(left, right, rows, cols)
        _, [row_bias, col_bias] = _arrays.enter("predict", row_bias=self.row_bias, col_bias=self.col_bias)
        offset = xp.take(row_bias, rows) + xp.take(col_bias, cols)
        return door.leave(xp.reshape(pairs + offset + self.mean, i.shape))

    def tiles(self) -> Iterator[tuple[int, Array]]:
        """Yield (first row, rows of the completed matrix) in blocks of about 32 MiB."""
        m, n = self.shape
        height = max(1, (1 << 22) // n)
        for first in range(0, m, height):
            rows = slice(first, min(m, first + height))
            yield first, self.U[rows, :] @ self.V.T + self.row_bias[rows, None] + self.col_bias + self.mean

    def to_dense(self) -> Array:
        """Return the completed matrix (m, n), observed entries replaced by the model's."""
        xp = _arrays.namespace(self.U)
        return xp.concat([block for _, block in self.tiles()], axis=0)

    def transform(self, new_rows: Any, *, shape: tuple[int, int] | None = None, mask: Array | None = None) -> tuple[Array, Array]:
        """Fold in new rows: find their factors and biases with V held fixed.

        Parameters
        ----------
        new_rows : array, sparse matrix or triples, p rows and n columns
            In any form that `complete` accepts, of the kind of V.
        shape : (p, n), with triples only
        mask : boolean array (p, n), with dense arrays only

        Returns
        -------
        U : array (p, k)
        row_bias : array (p,)
            The new rows are ~ mean + row_bias + col_bias + U V^T. A row without entries
            gets the average factor.

        Raises
        ------
        ValueError
            The rows do not have n columns, or an entry is infinite.
        TypeError
            The rows are complex, or belong to another library than V.

        Notes
        -----
        Cost: N k^2 + p k^3 / 3 flops for N entries. Uses the ridge of the last sweep.
        """
        from lowrank_la.completion._fold import fold_in

        return fold_in(self, new_rows, shape, mask)

    def optimality_gap(self, M: Any, *, shape: tuple[int, int] | None = None, mask: Array | None = None) -> Certificate:
        """Bound how far the objective over some entries is above the least that any matrix of any rank reaches.

        Parameters
        ----------
        M : array, sparse matrix or triples
            The entries, in any form that `complete` accepts. Those that were held out count too:
            fit with `validation=0` for a gap that can vanish.
        shape : (m, n), with triples only
        mask : boolean array (m, n), with dense arrays only

        Returns
        -------
        Certificate
            The objective is sum (M - model)^2 + ridge (||U||_F^2 + ||V||_F^2), in squared units of M, the
            mean and the biases held fixed; loss "l2" without weights.

        Raises
        ------
        ValueError
            M does not have the shape of the model, or an entry is infinite.

        Notes
        -----
        Half the objective is at least ||P(M - X)||_F^2 / 2 + ridge ||X||_*, which is convex in
        X = U V^T, and <Y, M> - ||Y||_F^2 / 2 is below its minimum for every Y on the entries with spectral norm at most
        ridge. Y is the residual, scaled down to that norm, which is bounded by 60 steps of the power
        method from 10 starts: about 1% to 10% too large, hence the gap never quite vanishes.
        Cost: 2400 flops an entry.
        """
        from lowrank_la.completion import _certificate, _observations

        _, entries = _observations.read("optimality_gap", M, shape=shape, mask=mask)
        if entries.shape != self.shape:
            raise ValueError(f"optimality_gap: M must have shape {self.shape}; got {entries.shape}")
        return _certificate.optimality_gap(self, entries)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to an .npz file of plain arrays."""
        stored = {field.name: getattr(self, field.name) for field in fields(self)}
        certificate = stored.pop("certificate")
        stored["history"] = np.array(self.history, dtype=np.float64).reshape(-1, len(Sweep._fields))
        stored["claim"], stored["method"] = certificate.claim, certificate.method
        stored["bound"], stored["confidence"] = certificate.bound, certificate.confidence
        for name in ("held_out", "outliers"):
            stored[name] = np.stack([_arrays.to_numpy(ids) for ids in stored[name]])
        arrays: dict[str, Any] = {name: _arrays.to_numpy(x) if _arrays.is_array(x) else np.asarray(x) for name, x in stored.items()}
        np.savez(path, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CompletionResult:
        """Read a model that `save` wrote, as NumPy arrays.

        Raises
        ------
        ValueError
            The file is not one that `save` wrote.
        """
        with np.load(path, allow_pickle=False) as file:
            stored = dict(file)
        try:
            certificate = Certificate(
                str(stored.pop("claim")), float(stored.pop("bound")), float(stored.pop("confidence")), str(stored.pop("method"))
            )
            history = tuple(Sweep(int(row[0]), int(row[1]), *map(float, row[2:])) for row in stored.pop("history"))
            for name in ("held_out", "outliers"):
                stored[name] = tuple(stored[name])
            stored = {name: x.item() if getattr(x, "shape", None) == () else x for name, x in stored.items()}
            stored["incoherence"] = tuple(map(float, stored["incoherence"]))
            return cls(certificate=certificate, history=history, **stored)
        except (KeyError, TypeError) as error:
            raise ValueError(f"load: {os.fspath(path)} must be a file that CompletionResult.save wrote; {error}") from None

    def plot(self) -> Any:
        """Draw the errors over time and the singular values; return the matplotlib figure (extra `plot`)."""
        import matplotlib.pyplot as plt

        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
        seconds = [sweep.seconds for sweep in self.history]
        left.semilogy(seconds, [sweep.train_rmse for sweep in self.history], "o-", label="training entries")
        left.semilogy(seconds, [sweep.held_out_rmse for sweep in self.history], "s-", label="held-out entries")
        if math.isfinite(self.certificate.bound):
            left.axhline(self.certificate.bound, color="0.5", linestyle="--", label="certificate")
        left.set(xlabel="seconds", ylabel="root-mean-square error")
        left.legend()
        right.semilogy(range(1, self.rank + 1), _arrays.to_numpy(self.s), "o-")
        right.set(xlabel="index", ylabel="singular value of $U V^T$")
        return figure
