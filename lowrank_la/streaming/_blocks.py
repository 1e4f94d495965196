"""The block power method for rows in random order, with heavy rows kept apart and some rows held back; or a whole Gram matrix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor import _probes
from lowrank_la.factor._dense import adjoint, wide
from lowrank_la.streaming._aside import Aside, priorities, some_rows

START = "TopEigenvector: start"
NUMBERS = 1 << 22  # in rows that are kept apart, and again in rows held back
GRAM_START = 1024  # columns up to which the first block gives its exact eigenvectors
SPARE = 3  # vectors beside the wanted ones, to which k may fall once those stand out
NEVER = 1 << 62
COUNTS = ("seen", "used", "spent", "begin", "end", "level", "fitted")


class BlockPower:
    """The state: what one pass of the block power method knows.

    The first block gives a start; each later block is as long as all that came before. Within a block, W gathers
    sum a a^H Z over its light rows. Heavy rows are the largest with |a|^2 >= tau ||A||_F^2 of what has come,
    held-back rows those light ones whose random 32-bit priority is below `level`, except in a first block with a
    Gram matrix. `spent` rows were heavy in an earlier block and no longer are. Both sets are functions of the
    rows that have come, not of how they were cut into chunks.
    """

    def __init__(self, like: Array, d: int, k: int, wanted: int, seed: int, *, exact: bool) -> None:
        xp, self.d, self.k, self.wanted, self.seed, self.like = _arrays.namespace(like), d, k, wanted, seed, like
        numbers = {"dtype": wide(like).dtype, "device": like.device}
        self.tau = 1 / (d * max(math.log(d), 1.0))
        self.most = 0 if exact else max(32, min(256, NUMBERS // d))
        self.most_held = max(64, min(1024, NUMBERS // d))
        self.seen = self.used = self.spent = self.begin = self.fitted = 0
        self.end = NEVER if exact else max(4 * d, 1024)
        self.level = 1 << 28  # a sixteenth of all rows, until there are too many
        self.energy = 0.0
        self.gram: Any = xp.zeros((d, d), **numbers) if exact or d <= GRAM_START else None
        self.Z = xp.linalg.qr(_probes.gaussian(xp.zeros(0, **numbers), d, self.k, seed, START), mode="reduced")[0]
        self.W = xp.zeros((d, self.k), **numbers)
        self.Q, self.theta = self.Z, np.zeros(self.k)
        self.heavy = self.held = Aside.none(like, d)
        self.fresh: list[Aside] = []  # held-back rows that wait to be put behind the others, which copies all of them
        self.waiting = 0  # how many

    @property
    def space(self) -> int:
        """Count the numbers of the state."""
        gram = 0 if self.gram is None else self.d**2
        return gram + 3 * self.Z.shape[0] * self.Z.shape[1] + self.theta.size + (len(self.heavy) + self._held_count()) * (self.d + 3)

    def take(self, X: Any, squares: np.ndarray) -> None:
        """Take rows with their squared norms, cut at the ends of blocks."""
        row = 0
        while row < squares.size:
            stop = min(squares.size, row + self.end - self.seen)
            self._piece(X[row:stop, :], squares[row:stop])
            row = stop
            if self.seen == self.end:
                self.close()

    def _piece(self, X: Any, squares: np.ndarray) -> None:
        before = self.seen
        self.seen += squares.size
        self.energy += float(np.sum(squares))
        is_heavy = self._largest(squares, np.arange(squares.size)) & (squares > self._least())
        priority = priorities(self.seed, before, squares.size)
        is_held = ~is_heavy & (priority < self.level) & (self.gram is None)
        if self.gram is not None:
            self.gram = self.gram + _gram(X)
        else:
            self._use(X, is_heavy | is_held)
        index = np.arange(before, self.seen)
        if is_held.any():
            self.fresh.append(Aside(some_rows(X, is_held), index[is_held], squares[is_held], priority[is_held]))
            self.waiting += len(self.fresh[-1])
        if is_heavy.any():
            self.heavy = self.heavy.joined(Aside(some_rows(X, is_heavy), index[is_heavy], squares[is_heavy], priority[is_heavy]))
        if is_heavy.any() or self._held_count() > self.most_held:
            self.settle()

    def _largest(self, energy: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Say which rows may be heavy: no more than there is room for, early ones before others as large."""
        heavy = (energy > 0) & (energy >= self.tau * self.energy) & (self.most > 0)
        if np.sum(heavy) > self.most:
            heavy[np.lexsort((index, -energy))[self.most :]] = False
        return heavy

    def _least(self) -> float:
        """Give the energy that a row must exceed to be kept apart, if there is no more room."""
        heavy = self.heavy.energy[self.heavy.energy >= self.tau * self.energy]
        return float(np.min(heavy)) if 0 < self.most == heavy.size else 0.0

    def _held_count(self) -> int:
        return len(self.held) + self.waiting

    def gather(self) -> None:
        """Put held-back rows together."""
        if self.fresh:
            self.held, self.fresh, self.waiting = self.held.joined(*self.fresh), [], 0

    def _use(self, X: Any, apart: np.ndarray | None = None) -> None:
        """Add a a^H Z over rows, except those that are kept apart."""
        xp = _arrays.namespace(self.W)
        Y = X @ xp.astype(self.Z, self.like.dtype, copy=False)
        self.used += X.shape[0]
        if apart is not None and apart.any():
            Y = Y * xp.astype(_arrays.from_numpy(~apart, Y), Y.dtype)[:, None]
            self.used -= int(np.sum(apart))
        self.W += wide(adjoint(X) @ Y)

    def settle(self) -> None:
        """Let go of rows that are no longer heavy, and of held-back ones beyond their number."""
        self.gather()
        heavy = self._largest(self.heavy.energy, self.heavy.index)
        out, self.heavy = self.heavy.take(~heavy), self.heavy.take(heavy)
        if self.gram is not None:
            return  # which has them
        unused = out.index >= self.begin
        keep, light = unused & (out.priority < self.level), unused & (out.priority >= self.level)
        self.spent += int(np.sum(~unused))
        self.held = self.held.joined(out.take(keep))
        if light.any():
            self._use(out.take(light).rows)
        while len(self.held) > self.most_held:
            self.level //= 2
            free = self.held.priority >= self.level
            if free.any():
                self._use(self.held.take(free).rows)
            self.held = self.held.take(~free)

    def model(self) -> tuple[Array, np.ndarray]:
        """Give k orthonormal columns, leading first, and their shares of A^H A: what is now known of its leading part."""
        self.settle()
        xp = _arrays.namespace(self.W)
        if self.gram is not None:
            theta, V = self.spectrum()
            return V[:, : self.k], theta[: self.k]
        new = self.heavy.index >= self.begin
        if self.used and (self.fitted == 0 or 2 * self.used >= self.end - self.begin):
            Q, theta = self._step(wide(self.heavy.take(~new).rows))
        else:
            Q, theta = self.Q, self.theta * (self.seen / max(self.fitted, 1))
        if new.any():
            Q, theta = leading(xp.concat([_rows(Q, theta), wide(self.heavy.take(new).rows)]), self.k)
        return Q, theta

    def spectrum(self) -> tuple[np.ndarray, Array]:
        """Give all eigenvalues of the Gram matrix, descending, and its eigenvectors."""
        xp = _arrays.namespace(self.gram)
        theta, V = xp.linalg.eigh((self.gram + adjoint(self.gram)) / 2)
        return _arrays.to_numpy(theta)[::-1], xp.flip(V, axis=1)

    def basis(self, count: int) -> Array:
        """Give orthonormal columns that should hold the leading eigenvectors."""
        return _arrays.namespace(self.W).linalg.qr(self.model()[0][:, :count], mode="reduced")[0]

    def _step(self, H: Array) -> tuple[Array, np.ndarray]:
        """Multiply Z by an estimate of A^H A: the light rows of the block, scaled to all, and heavy rows H."""
        xp = _arrays.namespace(self.W)
        T = self.W * ((self.seen - len(self.heavy)) / self.used) + adjoint(H) @ (H @ self.Z)
        G = adjoint(self.Z) @ T
        theta, U = xp.linalg.eigh((G + adjoint(G)) / 2)
        Q = xp.linalg.qr(T @ xp.flip(U, axis=1), mode="reduced")[0]
        return Q, np.maximum(_arrays.to_numpy(theta)[::-1], 0.0)

    def close(self) -> None:
        """End a block: what is known becomes the next start."""
        self.restart(*self.model())

    def restart(self, Q: Array, theta: np.ndarray) -> None:
        """Begin a block from a model of all rows; from the second on, directions far below the wanted ones need no further work."""
        if self.begin:
            kept = max(self.wanted + SPARE, 1 + int(np.sum(2 * theta > theta[self.wanted - 1])))
            Q, theta = Q[:, :kept], theta[:kept]
        self.Q, self.theta, self.fitted = Q, np.maximum(theta, 0.0), self.seen
        self.Z, self.W, self.gram, self.used = Q, _arrays.namespace(Q).zeros_like(Q), None, 0
        self.begin, self.end = self.seen, 2 * self.seen

    def merge(self, other: BlockPower) -> None:
        """Take another stream as if it had followed; Gram matrices add, models of two random samples too."""
        self.gather()
        other.gather()
        if self.gram is not None and other.gram is not None:
            models, gram = [], self.gram + other.gram
        else:
            models, gram = [self.model(), other.model()], None
        self.heavy = self.heavy.joined(other.heavy.later(self.seen))
        self.held = self.held.joined(other.held.later(self.seen))
        self.seen, self.energy, self.level = self.seen + other.seen, self.energy + other.energy, min(self.level, other.level)
        self.spent += other.spent
        if models:
            self.held = self.held.take(self.held.priority < self.level)
            self.restart(*leading(_arrays.namespace(self.W).concat([_rows(*model) for model in models]), self.k))
        else:
            self.gram = gram
        self.settle()
        if self.seen >= self.end:
            self.close()

    def stored(self) -> dict[str, Any]:
        """Give named host arrays for a file."""
        self.gather()
        arrays = {name: _arrays.to_numpy(getattr(self, name)) for name in ("Z", "W", "Q", "gram") if getattr(self, name) is not None}
        counts = {name: np.array(getattr(self, name)) for name in COUNTS}
        rest = {"theta": self.theta, "energy": np.array(self.energy)}
        return arrays | counts | rest | self.heavy.stored("heavy") | self.held.stored("held")

    def restore(self, file: Any) -> None:
        """Read what `stored` gave."""
        self.Z, self.W, self.Q, self.theta = (file[name] for name in ("Z", "W", "Q", "theta"))
        self.gram = file.get("gram")
        for name in COUNTS:
            setattr(self, name, int(file[name]))
        self.energy = float(file["energy"])
        self.heavy, self.held = Aside.restored("heavy", file), Aside.restored("held", file)

    def move(self, like: Array) -> None:
        """Bring the state to the namespace and device of an array."""
        self.like = like
        for name in ("Z", "W", "Q", "gram"):
            if getattr(self, name) is not None:
                setattr(self, name, _arrays.from_numpy(getattr(self, name), like))
        self.heavy, self.held = self.heavy.moved(like), self.held.moved(like)


def _gram(X: Any) -> Array:
    """Return X^H X in double precision, dense."""
    if not _arrays.is_sparse(X):
        X = wide(X)
        return adjoint(X) @ X
    X = X.astype(np.promote_types(X.dtype, np.float64), copy=False)
    return (adjoint(X) @ X).toarray()


def _rows(Q: Array, theta: np.ndarray) -> Array:
    """Return rows whose Gram matrix is Q diag(theta) Q^H."""
    weights = _arrays.from_numpy(np.sqrt(np.maximum(theta, 0.0)), Q)
    return adjoint(Q * _arrays.namespace(Q).astype(weights, Q.dtype))


def leading(P: Array, k: int) -> tuple[Array, np.ndarray]:
    """Give k leading right singular vectors of a few rows and the squares of their singular values."""
    linalg = _arrays.namespace(P).linalg
    Q, R = linalg.qr(adjoint(P), mode="reduced")  # SVD is slow on long rows
    U, s, _ = linalg.svd(R, full_matrices=False)
    return Q @ U[:, :k], _arrays.to_numpy(s)[:k] ** 2
