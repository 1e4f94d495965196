"""What single atoms are worth to the evidence, and which of them are given up or given back.

In the bases of the other modes the atoms of a slice do not interact: with b = a^H C^-1 a and z = a^H C^-1 y, over the slice of atom k of
mode i, the cost is known exactly along g_i[k]. For coupled modes what follows from it is an estimate.
"""

from __future__ import annotations

import math

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.sbl import _stack, _view
from lowrank_la.sbl._evidence import Evidence, power, start, unfold
from lowrank_la.sbl._stack import Stack
from lowrank_la.sbl._view import View

VANISHED = 1e-30  # a share of the largest hyper-parameter that is none
READMIT = 2  # an atom comes back if it offers that many times what noise would, and goes if it offers less than noise
ENTRIES = 1 << 20  # of temporary arrays
GRID = 11  # hyper-parameters tried for a pruned atom, and again between neighbours of the best


def pruned(here: View, before: Evidence, prune: float) -> tuple[View, np.ndarray]:
    """Give up atoms that stay small: below a share of the largest of their mode, before and after a step, and not growing.

    A step sends atoms near zero whose mean changes sign; with the next one they grow again. For those readmitted the share is far smaller.
    """
    evidence, cut = here.evidence, np.zeros(here.problem.count, dtype=bool)
    for i, (old, g) in enumerate(zip(before.g, evidence.g, strict=True)):
        xp, share = evidence.problem.xp, max(prune, VANISHED)
        top, was = (xp.max(x, axis=1, keepdims=True) for x in (g, old))
        small = (g > 0) & (g < share * top) & (old < share * was) & (g * was <= old * top)
        if bool(xp.any(small)):
            small = small & (~here.protected(i) | (g < prune * share * top))
            cut |= _arrays.to_numpy(xp.any(small, axis=1))
            evidence = evidence.with_mode(i, xp.where(small, xp.zeros_like(g), g))
    return View(here.problem, evidence, here.seen, here.safe), cut


def readmitted(here: View, quiet: np.ndarray) -> tuple[View, np.ndarray, np.ndarray]:
    """Give atoms back, once, that offer clearly more than noise would; say where, and the largest offer that each problem got."""
    part, back = here.take(quiet), np.zeros(here.problem.count, dtype=bool)
    evidence, safe, xp = start(part.problem, part.whole(), part.evidence.noise), list(part.safe), part.problem.xp
    most = xp.zeros_like(evidence.noise)
    for i, g in enumerate(evidence.g):
        best, fall = falls(evidence, i)
        most = xp.maximum(most, xp.max(fall, axis=1))
        wanted = (fall > READMIT * noise_limit(part.problem)) & ~safe[i]
        if bool(xp.any(wanted)):
            safe[i] = safe[i] | wanted
            back[quiet] |= _arrays.to_numpy(xp.any(wanted, axis=1))
            evidence = evidence.with_mode(i, xp.where(wanted, best, g))
    if back.any():
        g = tuple(_stack.put(x, quiet, y) for x, y in zip(here.whole(), evidence.g, strict=True))
        safe = tuple(_stack.put(x, quiet, y) for x, y in zip(here.safe, safe, strict=True))
        here = _view.look(here.problem, g, here.evidence.noise, safe)
    return here, back, _arrays.to_numpy(most)


def dropped(here: View, quiet: np.ndarray) -> tuple[View, np.ndarray]:
    """Give up the least atom of each mode that offers less than noise would; say where."""
    evidence, xp, gone = here.evidence, here.problem.xp, np.zeros(here.problem.count, dtype=bool)
    for i, g in enumerate(evidence.g):
        if here.problem.couplings[i] is None:
            rise = rises(evidence, i)
            least = xp.min(rise, axis=1, keepdims=True)
            out = (rise == least) & (least < noise_limit(here.problem)) & _arrays.from_numpy(quiet, g)[:, None]
            if bool(xp.any(out)):
                gone |= _arrays.to_numpy(xp.any(out, axis=1))
                evidence = evidence.with_mode(i, xp.where(out, xp.zeros_like(g), g))
    return View(here.problem, evidence, here.seen, here.safe), gone


def noise_limit(problem: Stack) -> float:
    """Return about what the best of as many atoms offers in pure noise."""
    return (1 if _arrays.is_complex(problem.Y) else 2) * math.log(sum(a.shape[1] for a in problem.alive) + 1)


def falls(evidence: Evidence, i: int) -> tuple[Array, Array]:
    """Return, for each pruned atom of a mode, its best hyper-parameter and by how much the cost falls with this atom alone; (B, N_i).

    The cost changes by the sum over the slice of L log(1 + g b) - |z|^2 g / (1 + g b); the best g lies between those of its terms.
    """
    xp, g = evidence.problem.xp, evidence.g[i]
    out = (g == 0) & evidence.problem.alive[i]
    if not bool(xp.any(out)):
        return xp.zeros_like(g), xp.zeros_like(g)
    best, fall = _searched(*_terms(evidence, i), evidence.problem.snapshots)
    keep = out & (fall > 0)
    return xp.where(keep, best, xp.zeros_like(g)), xp.where(keep, fall, xp.zeros_like(g))


def _searched(b: Array, z2: Array, snapshots: int) -> tuple[Array, Array]:
    """Minimise sum_p L log(1 + g b_p) - z2_p g / (1 + g b_p) over g, on a grid and a finer one; return g and how far it is below 0."""
    xp = _arrays.namespace(b)
    seen = b > 1e-14 * xp.max(b, axis=2, keepdims=True)
    safe = xp.where(seen, b, xp.ones_like(b))
    single = xp.where(seen, xp.clip(z2 / (snapshots * safe) - 1, min=0) / safe, xp.zeros_like(b))
    high = xp.max(single, axis=2, keepdims=True)
    low = xp.maximum(xp.min(xp.where(seen, single, high), axis=2, keepdims=True), 1e-4 * high)
    ramp = xp.linspace(0, 1, GRID, dtype=b.dtype, device=b.device)
    grid = _grid(low, high, ramp)
    cost = _costs(grid, b, z2, snapshots)
    k = xp.argmin(cost, axis=2, keepdims=True)
    low, high = (xp.take_along_axis(grid, xp.clip(k + step, 0, GRID - 1), axis=2) for step in (-1, 1))
    grid = _grid(low, high, ramp)
    cost = _costs(grid, b, z2, snapshots)
    k = xp.argmin(cost, axis=2, keepdims=True)
    return xp.take_along_axis(grid, k, axis=2)[..., 0], -xp.take_along_axis(cost, k, axis=2)[..., 0]


def _grid(low: Array, high: Array, ramp: Array) -> Array:
    xp = _arrays.namespace(low)
    return low * (high / xp.where(low > 0, low, xp.ones_like(low))) ** ramp


def _costs(grid: Array, b: Array, z2: Array, snapshots: int) -> Array:
    """Return the change of the cost at the points (B, N, G), few of them at a time if there are many terms (B, N, P)."""
    xp = _arrays.namespace(grid)
    width = max(1, min(GRID, ENTRIES // math.prod(b.shape)))
    parts = [grid[..., j : j + width, None] for j in range(0, GRID, width)]
    b, z2 = b[..., None, :], z2[..., None, :]
    return xp.concat([xp.sum(snapshots * xp.log(1 + x * b) - z2 * x / (1 + x * b), axis=3) for x in parts], axis=2)


def rises(evidence: Evidence, i: int) -> Array:
    """Return by how much the cost rises without each atom in use of a mode, inf for the others; (B, n_i)."""
    xp, g = evidence.problem.xp, evidence.g[i]
    b, z2 = _terms(evidence, i)
    left = xp.clip(1 - g[..., None] * b, min=1e-300)
    rise = xp.sum(evidence.problem.snapshots * xp.log(left) + g[..., None] * z2 / left, axis=2)
    several = xp.sum(xp.astype(g > 0, g.dtype), axis=1, keepdims=True) > 1
    return xp.where((g > 0) & several, rise, math.inf * xp.ones_like(g))


def missed(evidence: Evidence) -> Array:
    """Return the largest of these falls, of all modes, (B,)."""
    xp = evidence.problem.xp
    return xp.max(xp.stack([xp.max(falls(evidence, i)[1], axis=1) for i in range(len(evidence.g))]), axis=0)


def _terms(evidence: Evidence, i: int) -> tuple[Array, Array]:
    """Return b and |z|^2 of all atoms of a mode, on the leading singular values of the others: (B, N_i, P) each."""
    xp, C = evidence.problem.xp, evidence.problem.couplings[i]
    ranks = [int(xp.max(xp.sum(xp.astype(s > 1e-28 * xp.max(s), xp.int64), axis=1))) for s in evidence.s2]
    corner = (slice(None), *(slice(None) if j == i else slice(max(1, r)) for j, r in enumerate(ranks)))
    D, weight = evidence.precision[corner], evidence.weight(i)[corner]
    R = evidence.reach(i)
    b = power(R, snapshots=False) @ unfold(D * weight, i)
    scaled = (D * xp.sqrt(weight))[..., None] * evidence.Y[(*corner, slice(None))]
    z = R @ unfold(scaled, i)
    z2 = power(xp.reshape(z, (*b.shape, -1)))
    return (b, z2) if C is None else (C.T @ b, C.T @ z2)
