"""The door of `self_calibrate`: measurements and sensing matrices, checked, with dead channels set apart."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array, Door
from lowrank_la.calibration._operators import CodedFourier, MatrixFree, Operators, Sensing
from lowrank_la.factor import _dense

NAME = "self_calibrate"
MODELS = ("auto", "repeated", "diverse", "snapshots")
REPEATED, DIVERSE, SNAPSHOTS = MODELS[1:]
LARGEST = 1024  # channels up to which operators become matrices
MOST_ENTRIES = 1 << 25  # of these matrices: 512 MiB


@dataclass(frozen=True)
class Problem:
    """Measurements in double precision.

    Attributes
    ----------
    model : str
        One of `MODELS`.
    Y : array (p, m)
        Measurements of live channels, or of all channels if A is matrix-free.
    A : array (p, m, n) or (m, n), or MatrixFree
        Sensing matrices; one for all snapshots in the model "snapshots" only.
    dead : int
        Channels of Y that are dead.
    """

    model: str
    Y: Array
    A: Any
    dead: int = 0

    @property
    def p(self) -> int:
        return self.Y.shape[0]

    @property
    def m(self) -> int:
        return self.Y.shape[1]

    @property
    def n(self) -> int:
        return self.A.shape[-1]

    @property
    def columns_used(self) -> int:
        """Columns of a sensing matrix that are not zero, at most."""
        if isinstance(self.A, Operators):
            return self.n
        if isinstance(self.A, CodedFourier):
            nonzero = _arrays.to_numpy(self.A.flat) != 0
        else:
            nonzero = _arrays.to_numpy(_arrays.namespace(self.A).any(self.A != 0, axis=-2))
        if self.model == REPEATED and nonzero.ndim > 1:
            nonzero = nonzero.any(axis=0)
        return int(np.max(np.sum(nonzero, axis=-1)))

    def columns(self, support: np.ndarray) -> Problem:
        """Keep some columns of the sensing matrices: (k,) for all, or (p, k) for each."""
        xp = _arrays.namespace(self.Y)
        places = _arrays.from_numpy(support, self.Y)
        if support.ndim == 1:
            return replace(self, A=xp.take(self.A, places, axis=-1))
        parts = [xp.take(self.A[l, ...], places[l, :], axis=-1) for l in range(self.p)]
        return replace(self, A=xp.stack(parts))


def enter(Y: Any, A: Any, model: str) -> tuple[Door, Problem, np.ndarray]:
    """Check the arguments; return the door, the problem of the live channels, and which are dead.

    Raises
    ------
    ValueError
        Shapes do not fit, entries are not finite, all channels are dead, or operators are too large.
    TypeError
        Arrays belong to different libraries, or are none.
    """
    _checks.choice(NAME, "model", model, MODELS)
    free = _matrix_free(A)
    if free is None:
        door, [Y, A] = _dense.enter(NAME, Y=Y, A=_checks.given(NAME, "A", A))
        _checks.ndim(NAME, "A", A, (2, 3))
        A = _dense.wide(A)
    else:
        (door, Y), A = _beside(Y, free), free
    _checks.ndim(NAME, "Y", Y, 2)
    Y = _dense.wide(Y)
    _fit(Y, A, model)
    if free is not None and free.shape[-2] <= LARGEST and math.prod(free.shape) <= MOST_ENTRIES:
        A = free.matrices()
    dead = ~np.any(_dense.host(_arrays.namespace(Y).abs(Y)) > 0, axis=0)
    if dead.all():
        raise ValueError(f"{NAME}: Y must have a channel that is not zero in all snapshots; got zeros in all {dead.size}")
    if not isinstance(A, MatrixFree):
        dead |= unseen(A)
        if dead.all():
            raise ValueError(f"{NAME}: A must have a row that is not zero for a channel that is not; got none in shape {tuple(A.shape)}")
    return door, _alive(Problem(_model(A, model), Y, A), dead), dead


def unseen(A: Array) -> np.ndarray:
    """Say which channels no signal reaches: there all of Y is noise."""
    size = _dense.host(_arrays.namespace(A).abs(A))
    return ~np.any(size > 0, axis=-1 if A.ndim == 2 else (0, 2))


def _matrix_free(A: Any) -> Sensing | None:
    """Return operators as such; None for arrays."""
    if isinstance(A, CodedFourier):
        return A
    parts = A if isinstance(A, list | tuple) else [A]
    return Operators(NAME, A) if len(parts) > 0 and all(map(_is_operator, parts)) else None


def _is_operator(x: Any) -> bool:
    return hasattr(x, "shape") and (hasattr(x, "matmat") or hasattr(x, "__matmul__")) and not _arrays.is_array(x)


def _beside(Y: Any, free: Sensing) -> tuple[Door, Array]:
    """Enter measurements alone, complex if products are.

    Raises
    ------
    TypeError
        Y belongs to another library than the masks.
    """
    _dense.refuse_sparse(NAME, Y=Y)
    door, [Y] = _arrays.enter(NAME, Y=Y)
    _checks.not_empty(NAME, "Y", Y)
    _checks.finite(NAME, "Y", Y)
    xp = _arrays.namespace(Y)
    if isinstance(free, CodedFourier) and xp is not _arrays.namespace(free.flat):
        raise TypeError(f"{NAME}: arrays must belong to one library; Y and the masks of A do not")
    if _dense.is_complex(Y):
        if isinstance(free, Operators):
            free.on(Y)
        return door, Y
    if isinstance(free, Operators) and not free.on(Y):
        return door, Y
    door, [Y] = _arrays.enter(NAME, Y=xp.astype(Y, xp.complex64 if Y.dtype == xp.float32 else xp.complex128))
    if isinstance(free, Operators):
        free.on(Y)
    return door, Y


def _fit(Y: Array, A: Any, model: str) -> None:
    p, m = Y.shape
    if A.shape[-2] != m:
        raise ValueError(f"{NAME}: A must have {m} rows in each matrix, as many as Y has columns; got shape {tuple(A.shape)}")
    if len(A.shape) == 3 and A.shape[0] != p:
        raise ValueError(f"{NAME}: A must have {p} matrices, one for each row of Y; got shape {tuple(A.shape)}")
    if len(A.shape) == 3 and model == SNAPSHOTS:
        raise ValueError(f"{NAME}: A must be one matrix for the model 'snapshots'; got shape {tuple(A.shape)}")


def _model(A: Any, model: str) -> str:
    if model == "auto" and len(A.shape) == 2:
        return SNAPSHOTS
    return model


def _alive(problem: Problem, dead: np.ndarray) -> Problem:
    """Drop dead channels; repeat the one matrix that all snapshots share in the models with many."""
    Y, A, xp = problem.Y, problem.A, _arrays.namespace(problem.Y)
    if isinstance(A, Sensing):
        if len(A.shape) == 2 and problem.model != SNAPSHOTS:
            A = A.repeated(Y.shape[0])
        return replace(problem, A=A, dead=int(dead.sum()))
    if dead.any():
        places = _arrays.from_numpy(np.flatnonzero(~dead), Y)
        Y, A = xp.take(Y, places, axis=1), xp.take(A, places, axis=-2)
    if A.ndim == 2 and problem.model in (REPEATED, DIVERSE):
        A = xp.broadcast_to(A[None, ...], (Y.shape[0], *A.shape))
    return replace(problem, Y=Y, A=A)


class Counts(NamedTuple):
    """What counting needs of a problem; n is the largest rank of a sensing matrix."""

    model: str
    p: int
    m: int
    n: int


def counts(problem: Problem, n: int | None = None) -> Counts:
    """Count, with the sparsity for the number of unknowns in a signal if there is one."""
    return Counts(problem.model, problem.p, problem.m - problem.dead, problem.columns_used if n is None else n)


def check_counts(given: Counts, known: int = 0, *, function: str = NAME) -> None:
    """Require at least as many equations as unknowns, with the counts in words.

    Raises
    ------
    ValueError
        There are too few equations.
    """
    if enough(given, known):
        return
    model, p, m, n = given
    signals = n if model == REPEATED else p * n
    gains = f"{m} gains - {known} known" if known else f"{m} gains - 1 for the scale"
    rule = "enough equations" if model == REPEATED else "enough equations, and more channels than unknowns in a signal"
    what = f"{p} snapshots x {m} channels = {p * m} equations for {gains} + {signals} signal entries"
    raise ValueError(f"{function}: Y must bring {rule}; got {what}")


def enough(given: Counts, known: int = 0) -> bool:
    """Say whether there are as many equations as unknowns, one of which is free: the scale."""
    model, p, m, n = given
    unknown = m - max(known, 1)
    if model == REPEATED:
        return p * m >= unknown + n
    return n < m and p * (m - n) >= unknown
