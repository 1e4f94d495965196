"""`SequentialNystrom`: a kernel matrix of a stream of points from a small dictionary of them, in one pass."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks, _random
from lowrank_la._arrays import Array, Door
from lowrank_la._result import ConvergenceWarning
from lowrank_la.factor._dense import wide
from lowrank_la.factor._intake import Kind, reading
from lowrank_la.kernel_methods import _dictionary, _functions, _gram, _sample
from lowrank_la.kernel_methods._dictionary import NUMBERS, ON_DEVICE, ON_HOST, Dictionary, Rules
from lowrank_la.kernel_methods._functions import NAMES, KernelFunction, KernelLike
from lowrank_la.kernel_methods._gram import Gram
from lowrank_la.kernel_methods._sample import Sample
from lowrank_la.kernel_methods._sequential_result import SequentialNystromResult

NAME = "SequentialNystrom"
BLOCK, LARGEST_BLOCK = 512, 4096  # rows that are scored together, at first and when there have been four times as many


@dataclasses.dataclass(frozen=True)
class _State:
    """What one pass knows: all of it changes at once, or not at all.

    `kernel` has its bandwidth from the first block on; `waiting` rows, at the end of the stream, are less than a block.
    """

    kind: Kind
    kernel: Any
    dictionary: Dictionary
    sample: Sample
    waiting: Array
    n_rows: int = 0

    @property
    def gram(self) -> Gram:
        """The kernel, in double precision."""
        door = self.kind.door
        door = dataclasses.replace(door, dtype=door.xp.float64, leave=door.leave_wide)
        return Gram(NAME, door, wide(self.waiting[:0, :]), self.kernel)


class SequentialNystrom:
    """Approximate the kernel matrix of a stream of points by a dictionary of them, in one pass and in bounded memory.

    A point stays with a probability that follows its ridge leverage score, estimated from the dictionary itself; as more
    points come, probabilities fall and points leave. Past points are never looked at again.

    Parameters
    ----------
    kernel : {"rbf", "laplace", "matern", "polynomial", "linear", "cosine"}, KernelFunction or callable
        As for `nystrom`. A bandwidth "median" is taken from the first 512 points.
    ridge : float, ridge > 0
        Accuracy wanted, in the units of the kernel matrix: the aim is ||K - K~||_2 <= ridge / (1 - eps). Larger: fewer points.
    eps : float, 0 < eps < 1
        Accuracy of the estimated scores.
    qbar : int, qbar >= 1
        Copies that each point starts with; the dictionary has about qbar times (1 - eps) times the effective dimension
        points, or less. With `normalize`: copies of all points together, on average.
    max_size : int, max_size >= 1, or None
        Most points between blocks of the stream. Where they do not suffice, the ridge doubles.
    normalize : bool
        Draw by scores over the effective dimension, which is estimated as the points come (INK-Estimate), for study.
    rng : None, int or numpy.random.Generator
        An int gives the same draws on every backend. Streams that are to be merged need different ones.

    Attributes
    ----------
    n_rows : int
        Points so far.
    ridge : float
        The one in force; larger than the one given if `max_size` was too small.
    size : int
        Points in the dictionary, not counting those of the last unfinished block.
    space : int
        Numbers in the state.
    seed : int
        Seed of all draws.

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or of the wrong type; the kernel is "precomputed", which has no points.

    See Also
    --------
    nystrom : For points that are at hand: closer to K for the same number of landmarks, with a tolerance.

    Notes
    -----
    SQUEAK [1]_ on blocks of 512 rows, up to 4096 in a long stream, cut by number, so that the answer does not depend on how
    rows were cut into chunks. A row is first scored against the dictionary and itself, and most rows of a long stream leave
    here; the rest extend the dictionary and its Cholesky factor. When it has grown by an eighth, all points are scored anew
    and thinned. Copy j of row i has one uniform number for all times and is there while that is below p_i. The
    approximation K~ uses all points of the dictionary without weights, which only serve the scores.

    Cost for each row, with m points: m kernel entries and m^2 flops; 4 m^3 / 3 for each thinning. Memory: 2 m^2 numbers and
    m points, a block, and up to 1024 points that are held back; within a block, m may grow by its survivors. Small algebra
    is done in double precision.

    What is known. In theory 0 <= K - K~ <= ridge / (1 - eps) I holds at every step with probability 1 - delta for qbar of the
    order 40 (1 + eps) / (1 - eps) ln(2 n / delta) / eps^2, in the thousands; for practical values it says nothing, though
    in trials with qbar = 10 it held for nearly all seeds. What is certified is `result`, from points held back at random, which had
    no part in the choice of the dictionary beyond that of any other; and `certify`, from points given again.

    `normalize` follows INK-Estimate [2]_ in its scores, shares and thinning, with the increments of the effective dimension
    computed from the dictionary block by block, and without the constants by which the paper widens the estimates.

    References
    ----------
    .. [1] Calandriello, Lazaric and Valko, Distributed adaptive sampling for kernel matrix approximation, AISTATS 2017.
       SQUEAK and, for `merge`, DISQUEAK.
    .. [2] Calandriello, Lazaric and Valko, Analysis of Nystrom method with sequential ridge leverage scores, UAI 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from lowrank_la.kernel_methods import RBF, SequentialNystrom
    >>> X = np.random.default_rng(0).standard_normal((10000, 2))
    >>> stream = SequentialNystrom(RBF(1.0), ridge=1.0, rng=0)
    >>> for chunk in np.split(X, 20):
    ...     _ = stream.partial_fit(chunk)
    >>> result = stream.result()
    >>> result.rank < 400, result.relative_error < 0.01
    (True, True)
    >>> again = result.certify(X)
    >>> bool(again.spectral_error(rng=0).upper <= 1 / (1 - 0.5))
    True
    """

    seed: int

    def __init__(
        self,
        kernel: KernelLike = "rbf",
        *,
        ridge: float,
        eps: float = 0.5,
        qbar: int = 10,
        max_size: int | None = None,
        normalize: bool = False,
        rng: _random.RNG = None,
    ) -> None:
        if isinstance(kernel, str):
            kernel = NAMES[_checks.choice(NAME, "kernel", kernel, NAMES)]
        elif not callable(kernel):
            raise TypeError(f"{NAME}: kernel must be a name, a KernelFunction or a callable; got {type(kernel).__name__}")
        self._kernel = kernel
        self._ridge = _checks.real(NAME, "ridge", ridge, 0, open=True)
        self._eps = _checks.real(NAME, "eps", eps, 0, 1, open=True)
        self._qbar = _checks.integer(NAME, "qbar", qbar, 1)
        self._max_size = None if max_size is None else _checks.integer(NAME, "max_size", max_size, 1)
        self._normalize = bool(_checks.choice(NAME, "normalize", normalize, (False, True)))
        self.seed = _random.seed_of(NAME, rng)
        self._state: _State | None = None
        self._finished: _State | None = None  # the state with its waiting rows taken in, for results

    def __repr__(self) -> str:
        return f"{NAME} with {self.size} of {self.n_rows} points so far, ridge {self.ridge:.4g}, seed {self.seed}"

    @property
    def n_rows(self) -> int:
        """Points so far."""
        return 0 if self._state is None else self._state.n_rows

    @property
    def ridge(self) -> float:
        """The one in force."""
        return self._ridge if self._state is None else self._state.dictionary.ridge

    @property
    def size(self) -> int:
        """Points in the dictionary."""
        return 0 if self._state is None else len(self._state.dictionary)

    @property
    def space(self) -> int:
        """Numbers in the state."""
        if self._state is None:
            return 0
        d, m = self._state.waiting.shape[1], self.size
        return m * (2 * m + d + self._qbar + 2) + (self._state.waiting.shape[0] + len(self._state.sample)) * (d + 2)

    def partial_fit(self, X: Array) -> SequentialNystrom:
        """Take more points.

        Parameters
        ----------
        X : array (m, d)
            All of them are checked before any is taken.

        Returns
        -------
        SequentialNystrom
            This stream.

        Raises
        ------
        ValueError
            X is not two-dimensional, has another number of columns than before or entries that are not finite, or the kernel turns
            out not to be positive semidefinite. The state is as before.
        TypeError
            X is complex, sparse, no array of numbers, or of another library than before.
        """
        where = f"{NAME}.partial_fit"
        if _arrays.is_sparse(X):
            raise TypeError(f"{where}: X must be a dense array; got {type(X).__name__}")
        door, [X] = _arrays.enter(where, X=X)
        _checks.ndim(where, "X", _checks.real_dtype(where, "X", X), 2)
        state = self._open(where, door, X)
        _checks.shape(where, "X", X, (X.shape[0], state.waiting.shape[1]))
        X = state.kind.cast(where, "X", door, _checks.finite(where, "X", X))
        xp, block, rows = door.xp, state.waiting, 0
        while rows < X.shape[0]:
            height = _height(state.sample.seen)
            stop = min(rows + height - block.shape[0], X.shape[0])
            block, rows = xp.concat([block, X[rows:stop, :]], axis=0), stop
            if block.shape[0] == height:
                state, block = self._taken(state, block), block[:0, :]
        count = state.sample.seen + block.shape[0]
        self._state, self._finished = dataclasses.replace(state, waiting=block, n_rows=count), None
        return self

    def merge(self, other: SequentialNystrom) -> None:
        """Take all points of another stream, which stays as it is, as if they had followed.

        The dictionaries are put together and thinned; the larger ridge is in force.

        Parameters
        ----------
        other : SequentialNystrom
            With the same kernel, eps, qbar and normalize, and another seed.

        Raises
        ------
        ValueError
            The streams differ in kernel, columns, eps, qbar, normalize or dtype, or have the same seed.
        TypeError
            other is no SequentialNystrom, or holds arrays of another library.
        """
        where = f"{NAME}.merge"
        if not isinstance(other, SequentialNystrom):
            raise TypeError(f"{where}: other must be a {NAME}; got {type(other).__name__}")
        if other.seed == self.seed:
            raise ValueError(f"{where}: other must have another seed, for independent draws; got {other.seed} in both")
        for name in ("eps", "qbar", "normalize"):
            mine, theirs = getattr(self, f"_{name}"), getattr(other, f"_{name}")
            if mine != theirs:
                raise ValueError(f"{where}: other must have {name} = {mine}; got {theirs}")
        if other._state is None or other._state.n_rows == 0:
            return
        theirs = other._whole()
        mine = self._whole() if self.n_rows else self._open_like(theirs)
        mine.kind.check_same(where, theirs.kind)
        if self.n_rows and mine.kernel != theirs.kernel:
            raise ValueError(f"{where}: other must have the kernel {mine.kernel}; got {theirs.kernel}")
        _checks.shape(where, "points of other", theirs.waiting, (0, mine.waiting.shape[1]))
        mine = dataclasses.replace(mine, kernel=theirs.kernel)
        D = _dictionary.joined(mine.dictionary, theirs.dictionary.later(mine.n_rows), self._rules(mine))
        sample = mine.sample.joined(theirs.sample.later(mine.n_rows))
        self._state = dataclasses.replace(mine, dictionary=D, sample=sample, n_rows=mine.n_rows + theirs.n_rows)
        self._finished = None

    def result(self) -> SequentialNystromResult:
        """Return the dictionary for the points that have come; the stream may go on.

        Raises
        ------
        ValueError
            Nothing has come yet.

        Warns
        -----
        ConvergenceWarning
            `max_size` was too small for the ridge, which was raised.
        """
        if self.n_rows == 0:
            raise ValueError(f"{NAME}.result: the stream must have got points before; got none")
        state = self._whole()
        D = state.dictionary
        if D.ridge > self._ridge:
            words = f"{NAME}: {self._max_size} points do not suffice for ridge = {self._ridge:.3g}; it was raised to {D.ridge:.3g}"
            warnings.warn(words, ConvergenceWarning, stacklevel=2)
        return SequentialNystromResult.of(state.gram, D, state.sample, converged=D.ridge <= self._ridge, door=state.kind.door)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to an .npz file of plain arrays; a stream that is loaded from it goes on bit for bit.

        A kernel that is a function of the caller's is not written; `load` needs it again.
        """
        options = {name: getattr(self, f"_{name}") for name in ("ridge", "eps", "qbar", "max_size", "normalize")}
        stored: dict[str, Any] = {"options": np.array(json.dumps(options)), "seed": np.array(self.seed, np.uint64)}
        state = self._state
        stored["kernel"] = np.array(_written(self._kernel if state is None else state.kernel))
        if state is not None:
            D = state.dictionary
            stored |= {name: _arrays.to_numpy(getattr(D, name)) for name in (*ON_DEVICE, *ON_HOST)}
            stored |= {name: np.array(getattr(D, name)) for name in NUMBERS}
            stored |= {"waiting": _arrays.to_numpy(state.waiting), "n_rows": np.array(state.n_rows)} | state.sample.stored()
        np.savez(path, **stored)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, kernel: Callable[[Array, Array], Array] | None = None) -> SequentialNystrom:
        """Read a stream that `save` wrote; its next points decide the library and device of the arrays.

        Parameters
        ----------
        path : path
            Of the file.
        kernel : callable
            The kernel again, if it was a function of the caller's; else None.

        Raises
        ------
        ValueError
            The file is not one that `save` wrote, or the kernel is missing.
        """
        with reading(NAME, path) as file:
            known = _read(str(file["kernel"]))
            chosen = known or kernel
            if chosen is None or (known and kernel):
                raise ValueError("kernel must be given again if it was a function of the caller's, and only then")
            stream = cls(chosen, rng=int(file["seed"]), **json.loads(str(file["options"])))
            if "n_rows" in file:
                door, [waiting] = _arrays.enter(NAME, waiting=file["waiting"])
                D = Dictionary(**{name: file[name] for name in (*ON_DEVICE, *ON_HOST)}, ridge=float(file["ridge"]))
                D = dataclasses.replace(D, dimension=float(file["dimension"]), settled=int(file["settled"]))
                kind = dataclasses.replace(Kind.of(door, waiting), from_file=True)
                stream._state = _State(kind, stream._kernel, D, Sample.restored(file), waiting, int(file["n_rows"]))
        return stream

    def _open(self, where: str, door: Door, X: Array) -> _State:
        """Begin with the first array; after a file, move to its library and device."""
        kind = Kind.of(door, X)
        if self._state is None:
            nothing = door.xp.astype(X[:0, :], door.dtype)
            return _State(kind, self._kernel, Dictionary.empty(nothing, self._qbar, self._ridge), Sample.none(nothing), nothing)
        if not self._state.kind.from_file:
            return self._state
        state = self._state
        kind = state.kind.going_on_as(kind)
        parts = {name: _arrays.from_numpy(getattr(state.dictionary, name), kind.like) for name in ON_DEVICE}
        D = dataclasses.replace(state.dictionary, **parts)
        return dataclasses.replace(
            state, kind=kind, dictionary=D, sample=state.sample.moved(kind.like), waiting=_arrays.from_numpy(state.waiting, kind.like)
        )

    def _open_like(self, other: _State) -> _State:
        nothing = other.waiting[:0, :]
        return _State(other.kind, other.kernel, Dictionary.empty(nothing, self._qbar, self._ridge), Sample.none(nothing), nothing)

    def _taken(self, state: _State, block: Array) -> _State:
        """Take a block into the dictionary and the sample; the first one decides a bandwidth."""
        first = state.sample.seen
        if first == 0:
            state = dataclasses.replace(state, kernel=_gram.settle(state.kernel, block, self.seed))
        rules = self._rules(state)
        diagonal = _gram.diagonal_of(rules.gram, wide(block))
        sample = state.sample.taken(block, diagonal, _sample.drawn(self.seed, first, block.shape[0]))
        D = _dictionary.advance(state.dictionary, block, diagonal, first, rules)
        return dataclasses.replace(state, dictionary=D, sample=sample, waiting=block[:0, :], n_rows=sample.seen)

    def _rules(self, state: _State) -> Rules:
        most = math.inf if self._max_size is None else self._max_size
        return Rules(state.gram, self._eps, self._qbar, most, self._normalize, self.seed)

    def _whole(self) -> _State:
        """Give the state with all rows taken in, as if the stream had ended."""
        assert self._state is not None
        if self._finished is None:
            state = self._state
            self._finished = self._taken(state, state.waiting) if state.waiting.shape[0] else state
        return self._finished


def _height(seen: int) -> int:
    """Give the rows of the next block, a power of two: a long stream keeps few of them."""
    return min(LARGEST_BLOCK, max(BLOCK, 1 << (seen // 4).bit_length() - 1)) if seen >= 4 * BLOCK else BLOCK


def _written(kernel: Any) -> str:
    """Write a kernel of this package as text, and others as nothing."""
    if not isinstance(kernel, KernelFunction):
        return ""
    return json.dumps({"name": type(kernel).__name__, "fields": dataclasses.asdict(kernel)})


def _read(text: str) -> KernelFunction | None:
    """Read what `_written` wrote."""
    if not text:
        return None
    parts = json.loads(text)
    return getattr(_functions, parts["name"])(**parts["fields"])
