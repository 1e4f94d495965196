"""Error bars of the signals: what the noise does to them for given gains, and what the errors of the gains add."""

from __future__ import annotations

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.calibration._polish import Fit, grams, images
from lowrank_la.calibration._problem import REPEATED, SNAPSHOTS, Problem
from lowrank_la.factor._dense import adjoint


def signal_errors(problem: Problem, fit: Fit, factor: Array) -> Array:
    """Return standard errors of x for white noise of variance one; relative errors of the gains are `factor` times white noise.

    With N_l the Gram matrix of A'_l = diag(d) A_l, errors g of the gains and fits z_l, the error of x_l is N_l^-1 A'_l^H (e_l - z_l g).
    Both parts are uncorrelated, since the gains come from what the signals cannot fit.
    """
    xp = _arrays.namespace(fit.d)
    A = fit.d[:, None] * problem.A
    inverse = xp.linalg.inv(grams(problem.model, A))
    given = xp.real(xp.linalg.diagonal(inverse))
    L, Z = inverse @ adjoint(A), images(problem.model, A, fit.x)
    if problem.model == REPEATED:
        return xp.sqrt(given + _energy(xp.sum(L * Z[:, None, :], axis=0) @ factor))
    shared = problem.model == SNAPSHOTS
    parts = [_energy(((L if shared else L[l, ...]) * Z[l, :]) @ factor) for l in range(problem.p)]
    return xp.sqrt(given + xp.stack(parts))


def _energy(rows: Array) -> Array:
    xp = _arrays.namespace(rows)
    return xp.sum(xp.abs(rows) ** 2, axis=-1)
