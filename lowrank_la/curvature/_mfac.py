"""`MFAC`: the inverse of damp I + G^T G / m for a fixed set of gradients, never formed."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la.curvature import _solve
from lowrank_la.curvature._blocks import Blocks
from lowrank_la.curvature._entries import Entries
from lowrank_la.curvature._small import Small, finite, gram
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
        Tensors of bfloat16 on the CPU stay as they are: half the memory of float32.
    damp : float, damp > 0
        What is added to the diagonal; `spectrum` helps to choose it.
    block : int, block >= 1, default None
        Sets all entries of G^T G to zero but those between coordinates of one block, of so many neighbours. The
        last block may be smaller.

    Attributes
    ----------
    shape : tuple
        (m, d).
    damp : float
        The damping.
    block : int or None
        Size of the blocks.

    Raises
    ------
    ValueError
        grads is not 2-dimensional, empty, or has entries that are not finite or too large to square; damp or block is not positive.
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
    Memory: the gradients and O(m^2) numbers.

    With blocks of size B: m d min(m, B) flops at the start and d min(m, B)^2 / B numbers in double precision, from which four passes
    over the gradients make an answer. `error_bound` then comes from the residual over damp: with a small damp it is far above the error.

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

    def __init__(self, grads: Array, *, damp: float = 1e-5, block: int | None = None) -> None:
        self.damp = _checks.real(NAME, "damp", damp, 0, open=True)
        words = _arrays.bfloat16_words(grads)
        self._door, [G] = promote(NAME, grads=grads if words is None else grads[:0])
        G = G if words is None else words
        self._G = _checks.not_empty(NAME, "grads", _checks.ndim(NAME, "grads", G, 2))
        self.shape: tuple[int, int] = (int(G.shape[0]), int(G.shape[1]))
        self.block = None if block is None else _checks.integer(NAME, "block", block, 1)
        self._prepare(None)

    def _prepare(self, K: np.ndarray | None) -> None:
        """Set up H for the damping, from K = G G^T where that is known."""
        self._entries: Entries | Blocks
        if self.block is not None and self.block < self.shape[1]:
            finite(NAME, "grads", self._G)
            self._entries = Blocks(self._G, self.damp, self.block)
            return
        K = gram(NAME, "grads", self._G) if K is None else K
        self._entries = Entries(self._G, Small(K, self.shape[0], self.damp))

    def __repr__(self) -> str:
        blocks = "" if self.block is None else f", blocks of {self.block}"
        return f"{NAME} of {self.shape[0]} gradients of length {self.shape[1]}, damp = {self.damp:g}{blocks}"

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
        where = f"{NAME}.solve"
        if isinstance(self._entries, Blocks):
            return _solve.solve_blocks(where, self._G, self._entries, self._door, b)
        return _solve.solve(where, self._G, self._entries.small, self._door, b)

    def diagonal(self) -> Array:
        """Return the diagonal of H^-1, array (d,), between 0 and 1 / damp; 2 m^2 d flops, or 2 m d min(m, block)."""
        return self._door.leave(self._door.xp.astype(self._entries.diagonal(), self._door.dtype))

    def element(self, i: int, j: int) -> float:
        """Return one entry of H^-1, see `elements`."""
        where = f"{NAME}.element"
        i, j = (_checks.integer(where, name, value, 0, self.shape[1] - 1) for name, value in (("i", i), ("j", j)))
        return float(self._entries.elements(np.array([i]), np.array([j]))[0])

    def elements(self, rows: Array, cols: Array) -> Array:
        """Return the entries of H^-1 at pairs of places.

        Each costs O(m), and a column that occurs for the first time 2 m^2 flops: what is computed of it
        is kept, in m numbers, for later calls. Between blocks entries are zero; inside, columns are not kept.

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
        values = _arrays.from_numpy(self._entries.elements(a, b), self._G)
        return self._door.leave(self._door.xp.astype(values, self._door.dtype))

    def spectrum(self) -> Array:
        """Return the eigenvalues of G^T G / m from the largest on, array (min(m, d),) in float64; O(m^3) flops.

        They help to choose the damping: sum(s / (s + damp)) is the number of directions in which
        H follows the gradients rather than the damping.

        Raises
        ------
        ValueError
            H is block-diagonal.
        """
        values = np.linalg.eigvalsh(self._whole("spectrum").K)[::-1] / self.shape[0]
        return self._door.leave_wide(_arrays.from_numpy(np.maximum(values[: min(self.shape)], 0.0), self._G))

    def logdet(self) -> float:
        """Return log det H."""
        if isinstance(self._entries, Blocks):
            return self._entries.logdet()
        small = self._entries.small
        values = np.maximum(np.linalg.eigvalsh(small.K), 0.0)
        return self.shape[1] * math.log(self.damp) + float(np.sum(np.log1p(values / small.shift)))

    def with_damp(self, damp: float) -> MFAC:
        """Return the same with another damping, for the price of O(m^3) flops: no pass over the gradients.

        Parameters
        ----------
        damp : float, damp > 0
            The other damping.

        Raises
        ------
        ValueError
            damp is not positive, or H is block-diagonal.
        TypeError
            damp is no number.
        """
        other = copy.copy(self)
        other.damp = _checks.real(f"{NAME}.with_damp", "damp", damp, 0, open=True)
        other._prepare(self._whole("with_damp").K)
        return other

    def _whole(self, method: str) -> Small:
        if isinstance(self._entries, Blocks):
            raise ValueError(f"{NAME}.{method}: block must be None; got {self.block}")
        return self._entries.small

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
        return self._door.leave(self._door.xp.astype(w * w / (2 * self._entries.diagonal()), self._door.dtype))

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
        return self._door.leave(self._door.xp.astype(self._entries.without(w, Q), self._door.dtype))

    def _places(self, where: str, name: str, places: Any) -> np.ndarray:
        places = _checks.ndim(where, name, _arrays.beside(where, name, places, self._G), 1)
        return _arrays.to_numpy(_checks.ids(where, name, places, self.shape[1])).astype(np.int64)

    def _weights(self, where: str, w: Array) -> Array:
        w = _arrays.beside(where, "w", w, self._G)
        return wide(finite(where, "w", _checks.shape(where, "w", w, (self.shape[1],))))
