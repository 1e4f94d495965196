"""The door of `self_calibrate`: measurements and sensing matrices, checked, with dead channels set apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array, Door
from lowrank_la.calibration._operators import CodedFourier
from lowrank_la.factor import _dense

NAME = "self_calibrate"
MODELS = ("auto", "repeated", "diverse", "snapshots")
REPEATED, DIVERSE, SNAPSHOTS = MODELS[1:]
MOST_ENTRIES = 1 << 27  # of sensing matrices that are made from operators: 2 GiB
LARGEST = 1024  # channels up to which coded Fourier operators become matrices


@dataclass(frozen=True)
class Problem:
    """Measurements of live channels in double precision.

    Attributes
    ----------
    model : str
        One of `MODELS`.
    Y : array (p, m)
        Measurements.
    A : array (p, m, n) or (m, n), or CodedFourier
        Sensing matrices; one for all snapshots in the model "snapshots" only.
    """

    model: str
    Y: Array
    A: Any

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
    operator = A if isinstance(A, CodedFourier) else None
    if operator is not None:
        A = None
    elif isinstance(A, list | tuple) and len(A) > 0 and all(map(_arrays.is_operator, A)):
        A = _matrices(A)
    door, [Y, matrices] = _dense.enter(NAME, Y=Y, A=A) if operator is None else (*_only(Y, operator),)
    _checks.ndim(NAME, "Y", Y, 2)
    Y = _dense.wide(Y)
    A = operator if operator is not None else _dense.wide(matrices)
    if operator is None:
        _checks.ndim(NAME, "A", A, (2, 3))
    _fit(Y, A, model)
    if operator is not None and _arrays.namespace(Y) is not _arrays.namespace(operator.flat):
        raise TypeError(f"{NAME}: arrays must belong to one library; Y and the masks of A do not")
    dead = ~np.any(_dense.host(_arrays.namespace(Y).abs(Y)) > 0, axis=0)
    if dead.all():
        raise ValueError(f"{NAME}: Y must have a channel that is not zero in all snapshots; got zeros in all {dead.size}")
    if operator is not None and (operator.shape[-1] <= LARGEST or dead.any()):
        A = _small(operator, int(dead.sum()))
    return door, _alive(Problem(_model(A, model), Y, A), dead), dead


def _only(Y: Any, operator: CodedFourier) -> tuple[Door, list[Array]]:
    """Enter Y alone, complex like every Fourier transform."""
    _dense.refuse_sparse(NAME, Y=Y)
    door, [Y] = _arrays.enter(NAME, Y=Y)
    if not _dense.is_complex(Y):
        xp = _arrays.namespace(Y)
        narrow = Y.dtype == xp.float32
        door, [Y] = _arrays.enter(NAME, Y=xp.astype(Y, xp.complex64 if narrow else xp.complex128))
    _checks.not_empty(NAME, "Y", Y)
    return door, [_checks.finite(NAME, "Y", Y), None]


def _small(operator: CodedFourier, dead: int) -> Array:
    m = operator.shape[-1]
    if m > LARGEST:
        raise ValueError(f"{NAME}: Y must have no channel of zeros for a CodedFourier of more than {LARGEST} channels; got {dead} of {m}")
    return operator.matrices()


def _matrices(operators: Any) -> np.ndarray:
    """Apply linear operators to the identity.

    Raises
    ------
    ValueError
        Their shapes differ, or there are too many entries.
    """
    shapes = {tuple(op.shape) for op in operators}
    m, n = next(iter(shapes))
    if len(shapes) > 1:
        raise ValueError(f"{NAME}: A must be operators of one shape; got {sorted(shapes)}")
    if len(operators) * m * n > MOST_ENTRIES:
        raise ValueError(
            f"{NAME}: A must be a CodedFourier beyond {MOST_ENTRIES} entries; got {len(operators)} operators of shape {(m, n)}"
        )
    return np.stack([np.asarray(op.matmat(np.eye(n))) for op in operators])


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
    if isinstance(A, CodedFourier):
        if len(A.shape) == 2 and problem.model != SNAPSHOTS:
            A = A.repeated(Y.shape[0])
        return replace(problem, A=A)
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
    return Counts(problem.model, problem.p, problem.m, problem.columns_used if n is None else n)


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
