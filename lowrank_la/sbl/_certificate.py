"""How far an answer can be trusted: stationarity of the evidence, and whether the noise that is left looks like noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate
from lowrank_la.factor import _dense
from lowrank_la.sbl import _steps
from lowrank_la.sbl._evidence import Evidence, outer, variances
from lowrank_la.sbl._problem import square

CLAIM = "max_i,k |g_i[k] d cost / d g_i[k]| <= bound times the number of measurements"


@dataclass(frozen=True)
class Verdict:
    """Figures that judge hyper-parameters; see the fields of `KroneckerSBLResult`."""

    dof: float
    chi2: float
    balance: float
    rank_one_error: float
    certificate: Certificate


def judge(evidence: Evidence) -> Verdict:
    """Compute all figures."""
    moment, problem = _steps.moments(evidence), evidence.problem
    v, dof = variances(problem, evidence.g), evidence.freedom()
    balance = max(_steps.deviation(_steps.slice_means(moment, v, i), g) for i, g in enumerate(v))
    certificate = Certificate(CLAIM, stationarity(evidence), 1.0, "residual")
    return Verdict(dof, chi_square(evidence), balance, _steps.rank_one_error(moment, v), certificate)


def chi_square(evidence: Evidence) -> float:
    """Return ||y - fit||^2 over what noise alone would leave; nan where nothing is left over to compare."""
    left = evidence.problem.size - evidence.freedom()
    return evidence.residual() / (evidence.noise * evidence.problem.snapshots * left) if left > 0.5 else math.nan


def chi_square_limit(evidence: Evidence) -> float:
    """Return three standard deviations above the expected 1."""
    problem = evidence.problem
    left = problem.snapshots * (problem.size - evidence.freedom()) * (2 if _dense.is_complex(problem.Y) else 1)
    return 1 + 3 * math.sqrt(2 / max(left, 1.0))


def stationarity(evidence: Evidence) -> float:
    """Bound the violation of the first-order conditions, over the number of measurements, rounding errors included."""
    worst, count = 0.0, evidence.problem.size * evidence.problem.snapshots
    for i, g in enumerate(evidence.g):
        nums, dens = evidence.slices(i)
        worst = max(worst, float(_arrays.namespace(g).max(g * abs(dens - nums))))
    return (worst + rounding(evidence)) / count


def rounding(evidence: Evidence) -> float:
    """Bound the rounding errors of g d cost / d g, to first order, by backward errors of the factors and of the data.

    With D the precision and P = outer(S^2), in the bases U: errors u ||Y|| of the data and u max(S) of the singular values enter the
    two sums, sum P |D Y|^2 and sum P D over all slices, through these weights.
    """
    problem, D, xp = evidence.problem, evidence.precision(), _arrays.namespace(evidence.Y)
    P = outer(evidence.s2)[..., None]
    Z, root = D * evidence.Y, xp.sqrt(P)
    top = math.sqrt(float(xp.max(P)))
    reached = math.sqrt(square(root * Z))
    data = math.sqrt(square(root * D) * problem.energy) + top * math.sqrt(square(Z) + problem.spare / evidence.noise**2)
    terms = 4 * sum(a.shape[0] + a.shape[1] for a in problem.A)
    return _dense.gamma(terms, problem.Y) * 2 * (reached * (data + reached) + problem.snapshots * top * float(xp.sum(root * D)))


def margin(g: Array) -> float:
    """Return the least hyper-parameter in use over the largest of a mode; 0 if none is in use."""
    xp = _arrays.namespace(g)
    top = float(xp.max(g))
    return float(xp.min(xp.where(g > 0, g, xp.full_like(g, top)))) / top if top > 0 else 0.0
