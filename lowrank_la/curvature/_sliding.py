"""`SlidingMFAC`: the inverse of damp I + G^T G / n for the last n gradients of a stream."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la.curvature import _solve
from lowrank_la.curvature._small import Small, finite, gram, products
from lowrank_la.curvature._solve import MFACResult
from lowrank_la.factor._dense import promote
from lowrank_la.factor._intake import Kind, reading

NAME = "SlidingMFAC"


class SlidingMFAC:
    """The inverse of H = damp I + (1/n) sum_i g_i g_i^T for the last n gradients of a stream.

    Parameters
    ----------
    d : int, d >= 1
        Length of a gradient.
    window : int, window >= 1
        The most gradients that are kept; a further one takes the place of the oldest.
    damp : float, damp > 0
        What is added to the diagonal.

    Attributes
    ----------
    n : int
        Gradients in the window. H is damp I while there are none.

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or no number.

    See Also
    --------
    MFAC : The same for a fixed set of gradients, with entries of the inverse and pruning.

    Notes
    -----
    The window holds the gradients in a ring, in their own dtype, and their inner products in float64.
    A push replaces a row and a column of the inner products, and nothing is updated that could
    drift: after thousands of pushes they are what a fresh start would give but for the
    rounding errors of one inner product. The first `solve` after a push factors the matrix of
    inner products, O(window^3); that is less than its passes over the gradients where
    window^2 is below d.

    Cost: 2 d window flops and a pass over the gradients for each push; 4 d window and two passes for
    each right-hand side, a third where rounding errors ask for a correction. Memory: d window numbers
    of the dtype of the gradients and 4 window^2 in double precision.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.curvature import SlidingMFAC
    >>> fisher = SlidingMFAC(1000, 8, damp=1e-3)
    >>> for g in np.random.default_rng(0).standard_normal((20, 1000)):
    ...     fisher.push(g)
    ...     step = fisher.solve(g)
    >>> fisher.n, step.converged
    (8, True)
    """

    def __init__(self, d: int, window: int, *, damp: float = 1e-5) -> None:
        self._d = _checks.integer(NAME, "d", d, 1)
        self._window = _checks.integer(NAME, "window", window, 1)
        self._damp = _checks.real(NAME, "damp", damp, 0, open=True)
        self._next = self.n = 0
        self._kind: Kind | None = None  # until the first array
        self._K = np.zeros((self._window, self._window))
        self._small: Small | None = None  # until it is needed

    def __repr__(self) -> str:
        return f"{NAME} of {self.n} gradients of length {self._d}, at most {self._window}, damp = {self._damp:g}"

    def push(self, g: Array) -> None:
        """Take a gradient, or several from the oldest to the newest.

        The first one decides library, device and dtype of the window.

        Parameters
        ----------
        g : array (d,) or (q, d), real
            Gradients, which are copied.

        Raises
        ------
        ValueError
            g has another length or entries that are not finite; the window stays as it was.
        TypeError
            g is complex, no array of numbers, or of another library than the gradients before.
        """
        where = f"{NAME}.push"
        door, [rows] = promote(where, g=g)
        _checks.ndim(where, "g", rows, (1, 2))
        _checks.shape(where, "g", rows, (*rows.shape[:-1], self._d))
        _checks.real_dtype(where, "g", rows)
        if rows.ndim == 1:
            rows = rows[None, :]
        elif rows.shape[0] == 0:
            return
        finite(where, "g", rows)
        rows = finite(where, "g", self._take(where, "g", door, rows))  # float64 may overflow in a float32 window
        first = max(0, rows.shape[0] - self._window)
        while first < rows.shape[0]:
            last = min(rows.shape[0], first + self._window - self._next)
            self._replace(rows[first:last, :])
            first = last

    def pop(self) -> None:
        """Drop the oldest gradient.

        Raises
        ------
        ValueError
            The window is empty.
        """
        if self.n == 0:
            raise ValueError(f"{NAME}.pop: the window must hold a gradient; got an empty one")
        oldest = (self._next - self.n) % self._window
        self._G[oldest, :] = 0
        self._K[oldest, :] = self._K[:, oldest] = 0
        self.n, self._small = self.n - 1, None

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
        door, [like] = promote(where, b=b)
        self._take(where, "b", door, _solve.check(where, _checks.real_dtype(where, "b", like), self._d))
        kind = self._kind
        assert kind is not None
        if self._small is None:
            self._small = Small(self._K, max(self.n, 1), self._damp)
        return _solve.solve(where, self._G, self._small, kind.door, b)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to an .npz file of plain arrays; a window that is loaded from it goes on bit for bit."""
        stored: dict[str, Any] = {"d": self._d, "window": self._window, "damp": self._damp, "next": self._next, "n": self.n}
        if self._kind is not None:
            stored |= {"grads": _arrays.to_numpy(self._G), "products": self._K}
        np.savez(path, **stored)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SlidingMFAC:
        """Read a window that `save` wrote; the next array decides the library and device of the gradients.

        Raises
        ------
        ValueError
            The file is not one that `save` wrote.
        """
        with reading(NAME, path) as file:
            stream = cls(int(file["d"]), int(file["window"]), damp=float(file["damp"]))
            if "grads" in file:
                door, [G] = _arrays.enter(NAME, grads=file["grads"])
                stream._kind = Kind(door, G[:0, 0], from_file=True)
                stream._G = _checks.shape(NAME, "grads", G, (stream._window, stream._d))
                stream._K = _checks.shape(NAME, "products", file["products"], stream._K.shape)
            stream._next, stream.n = int(file["next"]), int(file["n"])
        return stream

    def _take(self, where: str, name: str, door: Any, x: Array) -> Array:
        """Open the window by its first array; cast the later ones to its dtype."""
        if self._kind is None:
            self._kind = kind = Kind.of(door, x)
            self._G = kind.xp.zeros((self._window, self._d), dtype=kind.like.dtype, device=kind.like.device)
        elif self._kind.from_file:
            self._kind = self._kind.going_on_as(Kind.of(door, x))
            self._G = _arrays.from_numpy(self._G, self._kind.like)
        with np.errstate(over="ignore"):
            return self._kind.cast(where, name, door, x)

    def _replace(self, rows: Array) -> None:
        """Put gradients at the next places, up to the end of the ring."""
        count = rows.shape[0]
        places = slice(self._next, self._next + count)
        self._G[places, :] = rows
        fresh = gram(self._G) if count == self._window else products(self._G, rows.T)
        self._K[places, :], self._K[:, places] = fresh.T, fresh
        self._next = (self._next + count) % self._window
        self.n, self._small = min(self.n + count, self._window), None
