"""`SlidingMFAC`: the inverse of damp I + G^T G / n for the last n gradients of a stream."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, kernels
from lowrank_la._arrays import Array
from lowrank_la.curvature import _solve
from lowrank_la.curvature._small import Small, finite, gram, rounded, widened
from lowrank_la.curvature._solve import MFACResult
from lowrank_la.factor._dense import host, promote
from lowrank_la.factor._intake import Kind, expecting, reading

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
    storage : None or "bfloat16"
        How gradients are kept: in the dtype of the first one, or rounded to bfloat16, which takes half the memory of
        float32 and leaves H exactly the damped Fisher matrix of the rounded gradients; see `push_solve`. It takes
        NumPy arrays and tensors on the CPU; answers are then computed in float32.

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
    each right-hand side, a third where rounding errors ask for a correction. The newest gradient as
    right-hand side, the step of an optimizer, takes one pass: its inner products are known.
    Memory: d window numbers of the dtype of the gradients and O(window^2) in double precision.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.curvature import SlidingMFAC
    >>> fisher = SlidingMFAC(1000, 8, damp=1e-3)
    >>> for g in np.random.default_rng(0).standard_normal((20, 1000)):
    ...     step = fisher.push_solve(g)
    >>> fisher.n, step.converged
    (8, True)
    """

    def __init__(self, d: int, window: int, *, damp: float = 1e-5, storage: str | None = None) -> None:
        self._d = _checks.integer(NAME, "d", d, 1)
        self._window = _checks.integer(NAME, "window", window, 1)
        self._damp = _checks.real(NAME, "damp", damp, 0, open=True)
        self._storage = _checks.choice(NAME, "storage", storage, (None, "bfloat16"))
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
        self._push(f"{NAME}.push", g, (1, 2))

    def push_solve(self, g: Array) -> MFACResult:
        """Take a gradient and return H^-1 times it: a step of an optimizer, in two passes over the gradients.

        Where storage rounds, it is the rounded gradient that is meant: what was rounded off lies outside the gradients of
        H, so that H^-1 would magnify it by 1 / damp.

        Parameters
        ----------
        g : array (d,), real
            The gradient, which is copied.

        Returns
        -------
        MFACResult
            As of `solve`.

        Raises
        ------
        ValueError
            g has another length, entries that are not finite, or an answer outside the range of the dtype.
        TypeError
            g is complex, no array of numbers, or of another library than the gradients before.

        Warns
        -----
        ConvergenceWarning
            damp is so small beside the gradients that x may have less than three correct digits.
        """
        where = f"{NAME}.push_solve"
        self._push(where, g, (1,))
        row, kind = self._G[self._newest, :], self._kind
        assert kind is not None
        row = row if self._storage is None else widened(row).astype(np.float32)
        return _solve.solve(where, self._G, self._factored(), kind.door, row, self._unit())

    def _push(self, where: str, g: Array, dims: tuple[int, ...]) -> None:
        door, [rows] = promote(where, g=g)
        _checks.ndim(where, "g", rows, dims)
        _checks.shape(where, "g", rows, (*rows.shape[:-1], self._d))
        _checks.real_dtype(where, "g", rows)
        if rows.ndim == 1:
            rows = rows[None, :]
        elif rows.shape[0] == 0:
            return
        used = max(0, rows.shape[0] - self._window)
        finite(where, "g", rows[:used, :])
        closed = self._kind is None
        rows = self._stored(self._take(where, "g", door, rows[used:, :]))
        try:
            self._replace(rows, gram(where, "g", rows))
        except ValueError:
            self._kind = None if closed else self._kind  # a gradient that is refused does not open the window
            raise

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
        return _solve.solve(where, self._G, self._factored(), kind.door, b, self._unit() if self._is_newest(like) else None)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to an .npz file of plain arrays; a window that is loaded from it goes on bit for bit."""
        np.savez(path, **self._state())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SlidingMFAC:
        """Read a window that `save` wrote; the next array decides the library and device of the gradients.

        Raises
        ------
        ValueError
            The file is not one that `save` wrote.
        """
        with reading(NAME, path) as file:
            return cls._of_state(file)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return what `save` writes: named NumPy arrays, copied, from which `from_state_dict` makes a window that goes on bit for bit."""
        return {name: np.array(value) for name, value in self._state().items()}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> SlidingMFAC:
        """Make a window from what `state_dict` returned, which is copied; the next array decides the library and device of the gradients.

        Parameters
        ----------
        state : mapping of str to array
            Named arrays.

        Returns
        -------
        SlidingMFAC
            The window.

        Raises
        ------
        ValueError
            These are not the arrays of a window.
        """
        with expecting(f"{NAME}.from_state_dict: state must be what {NAME}.state_dict returned"):
            return cls._of_state({name: np.array(value) for name, value in state.items()})

    def _state(self) -> dict[str, Any]:
        state = {"d": self._d, "window": self._window, "damp": self._damp, "next": self._next, "n": self.n, "storage": self._storage or ""}
        return state if self._kind is None else state | {"grads": _arrays.to_numpy(self._G), "products": self._K}

    @classmethod
    def _of_state(cls, state: Mapping[str, Any]) -> SlidingMFAC:
        storage = str(state["storage"]) or None if "storage" in state else None
        stream = cls(int(state["d"]), int(state["window"]), damp=float(state["damp"]), storage=storage)
        if "grads" in state:
            G = state["grads"]
            door, [like] = _arrays.enter(NAME, grads=G[:0, 0] if storage is None else np.empty(0, np.float32))
            stream._kind = Kind(door, like, from_file=True)
            stream._G = _checks.shape(NAME, "grads", G, (stream._window, stream._d))
            stream._K = _checks.shape(NAME, "products", state["products"], stream._K.shape)
        stream._next, stream.n = int(state["next"]), int(state["n"])
        return stream

    def _take(self, where: str, name: str, door: Any, x: Array) -> Array:
        """Open the window by its first array; cast the later ones to its dtype."""
        if self._kind is None:
            self._open(self._storable(where, name, Kind.of(door, x)))
        elif self._kind.from_file:
            self._kind = self._kind.going_on_as(self._storable(where, name, Kind.of(door, x)))
            self._G = _arrays.from_numpy(self._G, self._kind.like)
        assert self._kind is not None
        with np.errstate(over="ignore"):
            return self._kind.cast(where, name, door, x)

    def _open(self, kind: Kind) -> None:
        dtype = kind.like.dtype if self._storage is None else np.uint16
        self._G = kind.xp.zeros((self._window, self._d), dtype=dtype, device=kind.like.device)
        self._kind = kind

    def _storable(self, where: str, name: str, kind: Kind) -> Kind:
        """Return the kind in which arrays are worked with before they are stored.

        Raises
        ------
        TypeError
            They are not on the CPU, and rounded numbers could not be read there.
        """
        if self._storage is None:
            return kind
        if _arrays.engine_of(kind.like) != "cpu":
            raise TypeError(f"{where}: {name} must be a NumPy array or a tensor on the CPU for storage in {self._storage}")
        return Kind(kind.door, kind.like.astype(np.float32))

    def _stored(self, rows: Array) -> Array:
        """Round gradients to what is kept of them; what is not finite stays so."""
        if self._storage is None:
            return rows
        words = np.empty(rows.shape, np.uint16)
        for first, block in _arrays.row_blocks(rows):
            words[first : first + len(block)] = rounded(block)
        return words

    @property
    def _newest(self) -> int:
        return (self._next - 1) % self._window

    def _unit(self) -> np.ndarray:
        """Return z with G^T z the newest gradient."""
        return np.eye(1, self._window, self._newest).T

    def _is_newest(self, b: Array) -> bool:
        """Say whether b is the newest gradient, as it is stored."""
        if self.n == 0 or b.ndim != 1:
            return False
        row = self._G[self._newest, :]
        return bool(_arrays.namespace(b).all((row if self._storage is None else widened(row)) == b))

    def _factored(self) -> Small:
        if self._small is None:
            self._small = Small(self._K, max(self.n, 1), self._damp)
        return self._small

    def _replace(self, rows: Array, own: np.ndarray) -> None:
        """Put gradients, whose inner products are `own`, at the next places of the ring."""
        count = rows.shape[0]
        places = (self._next + np.arange(count)) % self._window
        if count < self._window:
            fresh = host(kernels.long_rows.times(self._G, widened(rows).T))
            self._K[places, :], self._K[:, places] = fresh.T, fresh
        self._K[np.ix_(places, places)] = own
        cut = min(count, self._window - self._next)
        self._G[self._next : self._next + cut, :] = rows[:cut, :]
        self._G[: count - cut, :] = rows[cut:, :]
        self._next = (self._next + count) % self._window
        self.n, self._small = min(self.n + count, self._window), None
