"""Lewis weights for p > 2 as the minimum of a convex function, by steps that always descend.

With v = w^(1 - 2/p) and alpha = 2 / (p - 2), Lewis weights minimize

    f(v) = -log det(A^H diag(v) A) + sum_i v_i^(1 + alpha) / (1 + alpha),

whose gradient is v_i^alpha - tau_i, tau_i = a_i^H (A^H diag(v) A)^-1 a_i. In relative changes
delta_i of v_i its Hessian is the Hadamard square of a projection, at most diag(v tau), plus
alpha diag(w): the step delta = (v tau - w) / (v tau + alpha w) minimizes a bound of the quadratic
model, and halving it until f falls makes it safe.
"""

from __future__ import annotations

import math
from typing import Any

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.sampling import _basis
from lowrank_la.sampling._basis import Basis
from lowrank_la.sampling._rows import Rows

SHARE = 1e-4  # of the decrease that the slope promises, which a step must keep
NOISE = 1e-12  # rounding error of f, for each column
SHORTEST = 1e-15  # step
MOST_FALL = 0.9  # of a v_i in one step


def density(x: Array, p: float) -> Array:
    """Give the row weights diag(w)^(1/2 - 1/p) for w = exp(x)."""
    return _arrays.namespace(x).exp((0.5 - 1 / p) * x)


def descend(rows: Rows, x: Array, basis: Basis, p: float, seed: int) -> tuple[Array, Basis]:
    """Take one step from w = exp(x), whose density has the basis P; two passes and more if it must be halved."""
    xp = rows.door.xp
    h, w, v = rows.norms(basis.square), xp.exp(x), xp.exp((1 - 2 / p) * x)
    gradient, curvature = v * h - w, v * h + 2 / (p - 2) * w
    delta = gradient / curvature
    slope, total, step = float(xp.sum(gradient * delta)), float(xp.sum(w)), 1.0
    while True:
        y = x + p / (p - 2) * xp.log1p(xp.clip(step * delta, -MOST_FALL, None))
        new = rows.weighted(density(y, p))
        G = new.gram(basis.square)
        gain = _log_det(basis.start.kept_square(G)) - (1 - 2 / p) * (float(xp.sum(xp.exp(y))) - total)
        if gain >= SHARE * step * slope - NOISE * basis.rank or step < SHORTEST:
            return y, _basis.moved(basis, G) or _basis.begin(new, seed)[1]
        step /= 2


def _log_det(G: Array) -> float:
    xp: Any = _arrays.namespace(G)
    values = _arrays.to_numpy(xp.linalg.eigvalsh(G))
    return sum(math.log(value) for value in values) if values[0] > 0 else -math.inf
