"""How far answers can be trusted: stationarity of the evidence, and whether the noise that is left looks like noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor import _dense
from lowrank_la.sbl import _steps
from lowrank_la.sbl._evidence import Evidence, variances
from lowrank_la.sbl._stack import products, total

CLAIM = "max_i,k |g_i[k] d cost / d g_i[k]| <= bound times the number of measurements"


@dataclass(frozen=True)
class Verdict:
    """Figures that judge hyper-parameters, (B,) each; see the fields of `KroneckerSBLResult`."""

    dof: np.ndarray
    chi2: np.ndarray
    balance: np.ndarray
    rank_one_error: np.ndarray
    margin: np.ndarray
    bound: np.ndarray


def judge(evidence: Evidence, few: Evidence, moment: Array) -> Verdict:
    """Compute all figures, from the evidence of all atoms, from that of those in use, and from the second moments of these."""
    v, xp = variances(few.problem, few.g), few.problem.xp
    balance = [_steps.deviation(_steps.slice_means(moment, v, i), g) for i, g in enumerate(v)]
    figures = (few.freedom(), chi_square(few), xp.max(xp.stack(balance), axis=0), _steps.rank_one_error(moment, v))
    figures = (*figures, xp.min(xp.stack([margin(g) for g in evidence.g]), axis=0), stationarity(evidence))
    return Verdict(*map(_arrays.to_numpy, figures))


def chi_square(evidence: Evidence) -> Array:
    """Return ||y - fit||^2 over what noise alone would leave; nan where nothing is left over to compare."""
    xp, problem = evidence.problem.xp, evidence.problem
    left = problem.size - evidence.freedom()
    few = left <= 0.5
    ratio = evidence.residual() / (evidence.noise * problem.snapshots * xp.where(few, xp.ones_like(left), left))
    return xp.where(few, math.nan * xp.ones_like(left), ratio)


def suspicious(evidence: Evidence) -> np.ndarray:
    """Say where chi2 is more than three standard deviations above the expected 1."""
    xp, problem = evidence.problem.xp, evidence.problem
    left = problem.snapshots * (problem.size - evidence.freedom()) * (2 if _arrays.is_complex(problem.Y) else 1)
    return _arrays.to_numpy(chi_square(evidence) > 1 + 3 * xp.sqrt(2 / xp.clip(left, min=1.0)))


def stationarity(evidence: Evidence) -> Array:
    """Bound the violation of the first-order conditions, over the number of measurements, rounding errors included; (B,)."""
    xp, count = evidence.problem.xp, evidence.problem.size * evidence.problem.snapshots
    worst = xp.zeros_like(evidence.noise)
    for i, g in enumerate(evidence.g):
        nums, dens = evidence.slices(i)
        worst = xp.maximum(worst, xp.max(g * xp.abs(dens - nums), axis=1))
    return (worst + rounding(evidence)) / count


def rounding(evidence: Evidence) -> Array:
    """Bound the rounding errors of g d cost / d g, to first order, by backward errors of the factors and of the data; (B,).

    With D the precision and P = outer(S^2), in the bases U: errors u ||Y|| of the data and u max(S) of the singular values enter the
    two sums, sum P |D Y|^2 and sum P D over all slices, through these weights.
    """
    problem, D, xp = evidence.problem, evidence.precision, evidence.problem.xp
    P = products(evidence.s2)
    Z2 = D * D * evidence.energies
    top = xp.sqrt(xp.max(xp.reshape(P, (problem.count, -1)), axis=1))
    reached = xp.sqrt(total(P * Z2))
    data = xp.sqrt(total(P * D * D) * problem.energy) + top * xp.sqrt(total(Z2) + problem.spare / evidence.noise**2)
    terms = 4 * sum(a.shape[1] + a.shape[2] for a in problem.A)
    sizes = reached * (data + reached) + problem.snapshots * top * total(xp.sqrt(P) * D)
    return _dense.gamma(terms, problem.Y) * 2 * sizes


def margin(g: Array) -> Array:
    """Return the least hyper-parameter in use over the largest of a mode; 0 if none is in use."""
    xp = _arrays.namespace(g)
    top = xp.max(g, axis=1)
    least = xp.min(xp.where(g > 0, g, top[:, None]), axis=1)
    return xp.where(top > 0, least / xp.where(top > 0, top, xp.ones_like(top)), xp.zeros_like(top))
