"""`MFAC`: the inverse of damp I + G^T G / m for a fixed set of gradients, never formed."""

from __future__ import annotations

from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la.curvature import _solve
from lowrank_la.curvature._small import Small, finite, gram, tiles
from lowrank_la.curvature._solve import MFACResult
from lowrank_la.factor._dense import promote, wide

NAME = "MFAC"


class MFAC:
    """The inverse of H = damp I + (1/m) sum_i g_i g_i^T for m gradients of length d.

    H is the damped empirical Fisher matrix, a model of the Hessian of a loss. It is never
    formed: all answers come from the m x m matrix of inner products of the gradients.

    Parameters
    ----------
    grads : array (m, d), real
        The gradients, one a row, of single samples or of batches: that decides which matrix
        this is. They are kept, not copied, and must not change afterwards.
    damp : float, damp > 0
        What is added to the diagonal.

    Attributes
    ----------
    shape : tuple
        (m, d).
    damp : float
        The damping.

    Raises
    ------
    ValueError
        grads is not 2-dimensional, empty, or has entries that are not finite or too large to square; damp is not positive.
    TypeError
        grads is complex, sparse or no array of numbers.

    See Also
    --------
    SlidingMFAC : The same for the last gradients of a stream.

    Notes
    -----
    The method is M-FAC [1]_; where that paper runs through the gradients one by one, here the
    Woodbury identity is applied once [2]_, which is the same matrix. The small algebra is in float64
    whatever the dtype of the gradients, and so are the sums over d, in tiles of columns: in float32
    the subtraction in the identity loses all digits when ``damp`` is small.

    Cost: m^2 d flops at the start, 4 m d for each right-hand side, in two passes over the
    gradients, and half as much again where rounding errors ask for a correction.
    Memory: the gradients and 4 m^2 numbers.

    References
    ----------
    .. [1] Frantar, Kurtic and Alistarh, M-FAC: Efficient matrix-free approximations of second-order
       information, NeurIPS 2021.
    .. [2] Hager, Updating the inverse of a matrix, SIAM Review 31, 1989.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.curvature import MFAC
    >>> grads = np.random.default_rng(0).standard_normal((20, 100))
    >>> fisher = MFAC(grads, damp=1e-3)
    >>> result = fisher.solve(grads[0])
    >>> H = 1e-3 * np.eye(100) + grads.T @ grads / 20
    >>> bool(np.linalg.norm(H @ result.x - grads[0]) <= result.certificate.bound * np.linalg.norm(grads[0]))
    True
    >>> bool(np.isclose(fisher.element(3, 7), np.linalg.inv(H)[3, 7]))
    True
    """

    def __init__(self, grads: Array, *, damp: float = 1e-5) -> None:
        self.damp = _checks.real(NAME, "damp", damp, 0, open=True)
        self._door, [G] = promote(NAME, grads=grads)
        self._G = finite(NAME, "grads", _checks.not_empty(NAME, "grads", _checks.ndim(NAME, "grads", G, 2)))
        self.shape: tuple[int, int] = (int(G.shape[0]), int(G.shape[1]))
        self._small = Small(gram(G), self.shape[0], self.damp)

    def __repr__(self) -> str:
        return f"{NAME} of {self.shape[0]} gradients of length {self.shape[1]}, damp = {self.damp:g}"

    def solve(self, b: Array) -> MFACResult:
        """Return H^-1 b.

        Parameters
        ----------
        b : array (d,) or (d, k), real
            Right-hand sides.

        Returns
        -------
        MFACResult
            x in the dtype of the gradients, error_bound, converged and certificate, which bounds the relative residual.

        Raises
        ------
        ValueError
            b has another length, is not finite, or has an answer outside the range of the dtype.
        TypeError
            b is complex, or no array of numbers of the library of the gradients.

        Warns
        -----
        ConvergenceWarning
            damp is so small beside the gradients that x may have less than three correct digits.
        """
        return _solve.solve(f"{NAME}.solve", self._G, self._small, self._door, b)

    def diagonal(self) -> Array:
        """Return the diagonal of H^-1, array (d,), between 0 and 1 / damp; 2 m^2 d flops."""
        return self._door.leave(self._door.xp.astype(self._diagonal(), self._G.dtype))

    def element(self, i: int, j: int) -> float:
        """Return one entry of H^-1, see `elements`."""
        where = f"{NAME}.element"
        i, j = (_checks.integer(where, name, value, 0, self.shape[1] - 1) for name, value in (("i", i), ("j", j)))
        return float(self._elements(np.array([i]), np.array([j]))[0])

    def elements(self, rows: Array, cols: Array) -> Array:
        """Return the entries of H^-1 at pairs of places.

        Each costs O(m), and each column that occurs 2 m^2 flops: for it nothing of the size of the gradients has to be kept.

        Parameters
        ----------
        rows, cols : array of integers (q,)
            The places.

        Returns
        -------
        array (q,)
            In the dtype of the gradients.

        Raises
        ------
        ValueError
            The arrays differ in length, or a place is not from 0 to d - 1.
        TypeError
            The places are no integers.
        """
        where = f"{NAME}.elements"
        a, b = self._places(where, "rows", rows), self._places(where, "cols", cols)
        _checks.shape(where, "cols", b, a.shape)
        values = _arrays.from_numpy(self._elements(a, b), self._G)
        return self._door.leave(self._door.xp.astype(values, self._G.dtype))

    def pruning_scores(self, w: Array) -> Array:
        """Return by how much the loss grows when each weight alone is removed and the others make up for it.

        The score is w_i^2 / (2 H^-1_ii), the saliency of the optimal brain surgeon [1]_, in the quadratic model.

        Parameters
        ----------
        w : array (d,), real
            The weights.

        Returns
        -------
        array (d,)
            In the dtype of the gradients.

        Raises
        ------
        ValueError
            w has another length or is not finite.
        TypeError
            w is complex, or no array of numbers of the library of the gradients.

        References
        ----------
        .. [1] Hassibi and Stork, Second order derivatives for network pruning: optimal brain surgeon, NIPS 1992.
        """
        w = self._weights(f"{NAME}.pruning_scores", w)
        return self._door.leave(self._door.xp.astype(w * w / (2 * self._diagonal()), self._G.dtype))

    def pruning_update(self, w: Array, index: int | Array) -> Array:
        """Return the weights after some are removed and all others move to make up for it.

        The removed ones are treated jointly: the change is the least of (1/2) dw^T H dw among those that bring them to zero.

        Parameters
        ----------
        w : array (d,), real
            The weights.
        index : int, or array of integers (q,)
            What to remove, each once; q^3 flops.

        Returns
        -------
        array (d,)
            New weights, exactly zero at `index`, in the dtype of the gradients.

        Raises
        ------
        ValueError
            w has another length or is not finite; an index is not from 0 to d - 1 or occurs twice.
        TypeError
            w is complex or no array of numbers; an index is no integer.
        """
        where = f"{NAME}.pruning_update"
        w = self._weights(where, w)
        if isinstance(index, int | np.integer):
            index = np.array([_checks.integer(where, "index", index, 0, self.shape[1] - 1)])
        Q = self._places(where, "index", index)
        if len(np.unique(Q)) < len(Q):
            raise ValueError(f"{where}: index must not name a weight twice; got {len(Q) - len(np.unique(Q))} repetitions")
        return self._door.leave(self._door.xp.astype(self._without(w, Q), self._G.dtype))

    def _without(self, w: Array, Q: np.ndarray) -> Array:
        """Return w - H^-1 E (E^T H^-1 E)^-1 E^T w in float64, for the columns E of the identity in Q."""
        C = self._columns(Q)
        S = self._small.W @ C
        block = np.eye(len(Q)) - S.T @ S
        np.fill_diagonal(block, np.maximum(np.diagonal(block), self._least(C)))
        places = _arrays.from_numpy(Q, w)
        c = np.linalg.solve(block, _arrays.to_numpy(self._door.xp.take(w, places)))
        t = _arrays.from_numpy(self._small.inverse(C @ c), w)
        new = self._door.xp.concat([w[columns] + wide(self._G[:, columns]).T @ t for columns in tiles(self._G)])
        kept = np.ones(self.shape[1], dtype=bool)
        kept[Q] = False
        return self._door.xp.where(_arrays.from_numpy(kept, w), new, self._door.xp.zeros_like(new))

    def _least(self, C: np.ndarray) -> np.ndarray:
        """Return damp / H_aa for columns a of G, below which damp H^-1_aa can fall only by rounding errors."""
        return 1 / (1 + np.sum(C * C, axis=0) / self._small.shift)

    def _diagonal(self) -> Array:
        """Return the diagonal of H^-1 in float64: rounding errors are cut off at the bounds 1 / H_aa and 1 / damp."""
        xp, parts = self._door.xp, []
        W = _arrays.from_numpy(self._small.W, self._G)
        for columns in tiles(self._G):
            tile = wide(self._G[:, columns])
            S = W @ tile
            least = 1 / (1 + xp.sum(tile * tile, axis=0) / self._small.shift)
            parts.append(xp.maximum(1 - xp.sum(S * S, axis=0), least) / self.damp)
        return xp.concat(parts)

    def _elements(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        used, places = np.unique(np.concatenate([rows, cols]), return_inverse=True)
        C = self._columns(used)
        S = self._small.W @ C
        a, b = places[: len(rows)], places[len(rows) :]
        values = (rows == cols) - np.sum(S[:, a] * S[:, b], axis=0)
        least = self._least(C)[a]
        return np.where(rows == cols, np.maximum(values, least), values) / self.damp

    def _columns(self, places: np.ndarray) -> np.ndarray:
        """Bring some columns of the gradients to the host, in float64."""
        taken = self._door.xp.take(self._G, _arrays.from_numpy(places, self._G), axis=1)
        return np.asarray(_arrays.to_numpy(taken), dtype=np.float64)

    def _places(self, where: str, name: str, places: Any) -> np.ndarray:
        places = _checks.ndim(where, name, _arrays.beside(where, name, places, self._G), 1)
        return _arrays.to_numpy(_checks.ids(where, name, places, self.shape[1])).astype(np.int64)

    def _weights(self, where: str, w: Array) -> Array:
        w = _arrays.beside(where, "w", w, self._G)
        return wide(finite(where, "w", _checks.shape(where, "w", w, (self.shape[1],))))
