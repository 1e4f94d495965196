"""What a stream keeps of snapshots: matrices that add up, whoever saw them, and what eliminates the signals afterwards.

Exact zeros in Y are taken for missing: their equations are left out. A channel that is zero throughout is dead.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.calibration import _models
from lowrank_la.calibration._problem import DIVERSE, REPEATED
from lowrank_la.factor import _dense
from lowrank_la.factor._dense import adjoint, conj, host

Sums = dict[str, Array]


def of_snapshots(Y: Array) -> Sums:
    """Return the Gram matrix sum_l conj(y_l) y_l^T."""
    return {"gram": conj(_arrays.namespace(Y).matrix_transpose(Y)) @ Y}


def of_repeated(Y: Array, A: Array) -> Sums:
    """Return q = sum |y_l|^2, B = sum diag(conj y_l) A_l, K = sum A_l^H A_l, equations and energies of the rows of A for each channel."""
    xp, seen = _arrays.namespace(Y), _present(Y)
    A = A * seen[:, :, None]
    n = A.shape[2]
    flat = xp.reshape(A, (-1, n))
    B = xp.sum(conj(Y)[:, :, None] * A, axis=0)
    energy = xp.sum(xp.abs(A) ** 2, axis=(0, 2))
    return {"q": _energy(Y), "B": B, "K": adjoint(flat) @ flat, "equations": xp.sum(xp.real(seen), axis=0), "energy": energy}


def of_diverse(Y: Array, A: Array) -> Sums:
    """Return q, the matrix G with the signals eliminated, degrees of freedom and energies of the rows of A for each channel."""
    xp, seen = _arrays.namespace(Y), _present(Y)
    A = A * seen[:, :, None]
    Q = _models.basis(A)
    B = xp.reshape(xp.permute_dims(conj(Y)[:, :, None] * Q, (1, 0, 2)), (Y.shape[1], -1))
    share = xp.sum(xp.real(seen), axis=0) - xp.sum(xp.abs(Q) ** 2, axis=(0, 2))
    q = _energy(Y)
    return {"q": q, "G": _models.diagonal(q) - B @ adjoint(B), "share": share, "energy": xp.sum(xp.abs(A) ** 2, axis=(0, 2))}


def dead(sums: Sums, A: Array | None) -> np.ndarray:
    """Say which channels are zero throughout, or reached by no signal."""
    if "gram" in sums:
        q = host(_arrays.namespace(sums["gram"]).real(_arrays.namespace(sums["gram"]).linalg.diagonal(sums["gram"])))
        return ~((q > 0) & np.any(np.abs(_arrays.to_numpy(A)) > 0, axis=1))
    return ~((host(sums["q"]) > 0) & (host(sums["energy"]) > 0))


def alive(sums: Sums, dead: np.ndarray) -> Sums:
    """Drop dead channels."""
    live = np.flatnonzero(~dead)

    def kept(name: str, x: Array) -> Array:
        xp, places = _arrays.namespace(x), _arrays.from_numpy(live, x)
        if name == "K":
            return x
        x = xp.take(x, places, axis=0)
        return xp.take(x, places, axis=1) if name in ("gram", "G") else x

    return {name: kept(name, x) for name, x in sums.items()}


def elimination(model: str, sums: Sums, A: Array | None, count: int) -> tuple[Callable[[np.ndarray], _models.Elimination], np.ndarray]:
    """Return what eliminates the signals for trial sizes, or for sizes of one, and the energies of live channels."""
    if model == REPEATED:
        made = _eliminated(sums)
        return (lambda v: made), host(sums["q"])
    if model == DIVERSE:
        ones = np.ones(sums["q"].shape[0])
        made = _models.whiten(sums["G"], host(sums["q"]), host(sums["share"]), ones, sums["q"].shape[0])
        return (lambda v: made), host(sums["q"])
    gram = sums["gram"]

    def form(v: np.ndarray) -> _models.Elimination:
        return _models.from_gram(gram, count, _models.basis(_arrays.from_numpy(v, A)[:, None] * A), v)

    return form, host(_arrays.namespace(gram).real(_arrays.namespace(gram).linalg.diagonal(gram)))


def signal(sums: Sums, d: Array) -> Array:
    """Return the one signal that fits best with given gains."""
    xp = _arrays.namespace(d)
    values, V = xp.linalg.eigh(sums["K"])
    return (V @ (_inverted(values)[:, None] * (adjoint(V) @ (adjoint(sums["B"]) @ (1 / d)[:, None]))))[:, 0]


def _eliminated(sums: Sums) -> _models.Elimination:
    """Eliminate the one signal; the share of a channel in the noise is taken from the energy of its rows of A."""
    xp = _arrays.namespace(sums["K"])
    values, V = xp.linalg.eigh(sums["K"])
    root = xp.sqrt(_inverted(values))
    C = (sums["B"] @ V) * root[None, :]
    rank, energy = float(xp.sum(xp.astype(root > 0, xp.float64))), host(sums["energy"])
    share = host(sums["equations"]) - rank * energy / np.sum(energy)
    return _models.whiten(_models.diagonal(sums["q"]) - C @ adjoint(C), host(sums["q"]), share, np.ones(energy.size), C.shape[1])


def _inverted(values: Array) -> Array:
    """Return 1 / values, zero for those that are rounding errors."""
    xp = _arrays.namespace(values)
    there = values > values.shape[0] * 4 * _dense.U * xp.max(values)
    return xp.where(there, 1 / xp.where(there, values, xp.ones_like(values)), xp.zeros_like(values))


def _present(Y: Array) -> Array:
    xp = _arrays.namespace(Y)
    return xp.astype(Y != 0, Y.dtype)


def _energy(Y: Array) -> Array:
    xp = _arrays.namespace(Y)
    return xp.sum(xp.abs(Y) ** 2, axis=0)
