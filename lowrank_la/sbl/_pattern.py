"""Pattern coupling: the prior variance of an atom is a weighted sum of its own hyper-parameter and those of its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la.sbl._problem import Problem


def coupled(function: str, problem: Problem, coupling: float, modes: Sequence[int] | None) -> Problem:
    """Couple neighbours in the modes given, or in all modes.

    Raises
    ------
    ValueError
        coupling is not between 0 and 1, or a mode is out of range.
    """
    coupling = _checks.real(function, "coupling", coupling, 0, 1)
    count = len(problem.A)
    chosen = range(count) if modes is None else {_checks.integer(function, "coupled_modes", i, 0, count - 1) for i in modes}
    matrices = [_tridiagonal(problem, i, coupling) if i in chosen else None for i in range(count)]
    return replace(problem, couplings=tuple(matrices))


def _tridiagonal(problem: Problem, i: int, coupling: float) -> _arrays.Array:
    """Ones on the diagonal, `coupling` beside it, for the columns that were given; then for columns of length one."""
    n, power = problem.A[i].shape[1], problem.norms[i] ** 2
    C = np.eye(n) + coupling * (np.eye(n, k=1) + np.eye(n, k=-1))
    return power[:, None] * _arrays.from_numpy(C, problem.alive[i]) / power
