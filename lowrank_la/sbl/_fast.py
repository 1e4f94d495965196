"""Steps that change one atom each, the one that lowers the cost most: for large dictionaries of which few atoms are in use."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.factor import _dense
from lowrank_la.sbl._problem import square


@dataclass(frozen=True)
class Model:
    """The data, and hyper-parameters of all columns, which have length one or are zero."""

    A: Array
    Y: Array
    size: int
    spare: float
    floor: float
    g: Array
    noise: float


@dataclass(frozen=True)
class OneAtom:
    """The cost before a step, by how much it falls with the same noise (of each snapshot), and the model after it."""

    cost: float
    fall: float
    after: Model


def one_atom(model: Model) -> OneAtom:
    """Give the atom whose change lowers the cost most its best variance, which may be zero, and estimate the noise anew.

    An atom comes into use only if it lowers the cost by more than the best of as many atoms would by explaining pure noise.
    """
    A, Y, g, noise, xp = model.A, model.Y, model.g, model.noise, _arrays.namespace(model.A)
    active = xp.nonzero(g > 0)[0]
    used, v = xp.take(A, active, axis=1), xp.take(g, active)
    B, b = _dense.adjoint(A) @ used / noise, _dense.adjoint(A) @ Y / noise
    inverse = xp.linalg.inv(xp.take(B, active, axis=0) + _diagonal(xp, 1 / v, A))
    mean = inverse @ xp.take(b, active, axis=0)
    S = xp.sum(xp.abs(A) ** 2, axis=0) / noise - xp.sum(xp.real(B @ inverse * _dense.conj(B)), axis=1)
    Q2 = xp.mean(xp.abs(b - B @ mean) ** 2, axis=1)
    left = xp.where(g > 0, 1 - g * S, xp.ones_like(g))  # how much of an atom in use the others do not explain
    s, q2 = S / left, Q2 / left**2
    new = xp.where((s > 0) & (q2 > s), (q2 - s) / xp.where(s > 0, s, xp.ones_like(s)) ** 2, xp.zeros_like(g))
    falls = _share(g, s, q2) - _share(new, s, q2)
    falls = xp.where((g > 0) | (Y.shape[1] * falls > 2 * math.log(g.shape[0] + 1)), falls, xp.zeros_like(falls))
    k = int(xp.argmax(falls))
    after = xp.where(xp.arange(g.shape[0], device=g.device) == k, new, g)
    residual = square(Y - used @ mean) + model.spare
    free = model.size - active.shape[0] + float(xp.sum(xp.real(xp.linalg.diagonal(inverse)) / v))
    learnt = replace(model, g=after, noise=max(residual / (Y.shape[1] * free), model.floor))
    return OneAtom(_cost(model, inverse, v, used @ mean), float(falls[k]), learnt)


def _diagonal(xp: _arrays.Namespace, d: Array, like: Array) -> Array:
    return _dense.eye(xp, d.shape[0], like) * d


def _share(g: Array, s: Array, q2: Array) -> Array:
    """Return the part of the cost, for one snapshot, that depends on the variance g of an atom."""
    return _arrays.namespace(g).log(1 + g * s) - g * q2 / (1 + g * s)


def _cost(model: Model, inverse: Array, v: Array, fit: Array) -> float:
    xp = _arrays.namespace(v)
    logs = model.size * math.log(model.noise) + float(xp.sum(xp.log(v))) - float(xp.linalg.slogdet(inverse)[1])
    explained = float(xp.sum(xp.real(_dense.conj(model.Y) * fit)))
    return model.Y.shape[1] * logs + (square(model.Y) + model.spare - explained) / model.noise
