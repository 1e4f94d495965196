"""What a function gives at the points of a design, or what was measured there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array, Door
from lowrank_la.dpp._bases import Basis
from lowrank_la.dpp._design import outside
from lowrank_la.factor import _dense

ROUNDS = 100  # of redrawing points at which there is no value


@dataclass(frozen=True)
class Values:
    """Values B (n, q) in double precision on the host, and how numbers made from them go out.

    Attributes
    ----------
    B : array (n, q)
    vector : bool
        There was one value for each point.
    door : Door
        Of the values.
    like : array
        A value inside, for the device.
    """

    B: np.ndarray
    vector: bool
    door: Door
    like: Array

    def leave(self, c: np.ndarray) -> Array:
        """Hand out an array (..., q), without its last axis if there was one value for each point; complex from real ones if it must."""
        c = c[..., 0] if self.vector else c
        if not np.iscomplexobj(c) or _dense.is_complex(self.like):
            return self.door.leave(_arrays.from_numpy(c, self.like))
        re, im = (self.door.leave(_arrays.from_numpy(np.ascontiguousarray(part), self.like)) for part in (np.real(c), np.imag(c)))
        xp = _arrays.namespace(re)
        kind = xp.complex64 if xp.finfo(re.dtype).bits < 64 else xp.complex128
        return xp.astype(re, kind) + 1j * xp.astype(im, kind)

    def numbers(self, c: np.ndarray) -> Any:
        """Hand out one number for each component (q,): a float if there is one value for each point."""
        return float(c[0]) if self.vector else self.leave(c)

    @property
    def roundoff(self) -> float:
        """Unit roundoff of the dtype that answers have, if that is not float64, else 0."""
        u = _arrays.unit_roundoff(self.door.xp, self.door.dtype)
        return u if u > _dense.U else 0.0

    def rows(self, chosen: np.ndarray) -> Array:
        """Hand out the values of some points."""
        return self.leave(self.B[chosen])

    def beside(self, other: Values) -> Values:
        """Append values at more points."""
        return Values(np.concatenate([self.B, other.B]), self.vector, self.door, self.like)


def enter_values(function: str, name: str, values: Any, basis: Basis, n: int, *, finite: bool = False) -> Values:
    """Take values inside: one row for each point, of the library of discrete features, finite if that is asked.

    Raises
    ------
    ValueError
        They have the wrong shape, or one is NaN or infinite but must not be.
    TypeError
        They are no numbers, or belong to another library than the features.
    """
    arrays = {name: values, **({"Phi": _first_row(basis)} if basis.discrete else {})}
    door, [v, *_] = _arrays.enter(function, **arrays)
    _checks.rows_like(function, name, _checks.ndim(function, name, v, (1, 2)), n, "there are points")
    if finite:
        _checks.finite(function, name, v)
    B = np.asarray(_arrays.to_numpy(_dense.wide(v)))
    return Values(B.reshape(n, -1), v.ndim == 1, door, v)


def _first_row(basis: Any) -> Array:
    return basis.Q[:1, :]


def measure(function: str, f: Callable[[Array], Any], basis: Basis, x: np.ndarray) -> Values:
    """Evaluate f at all points in one call.

    Raises
    ------
    ValueError
        f raises, returns something of the wrong shape, or a value that is NaN or infinite; the message names the first such point.
    """
    values = evaluate(function, f, basis, x)
    bad = missing(values)
    if bad.size:
        raise ValueError(f"{function}: f must be finite; got NaN or infinite values at {bad.size} of {len(x)} points, {_where(x, bad[0])}")
    return values


def evaluate(function: str, f: Callable[[Array], Any], basis: Basis, x: np.ndarray) -> Values:
    """Evaluate f; values may be missing.

    Raises
    ------
    ValueError
        f raises, or returns something of the wrong shape.
    """
    try:
        values = f(_argument(basis, x))
    except Exception as error:
        first = next((i for i in range(len(x)) if _raises(f, _argument(basis, x[i : i + 1]))), None)
        where = "on all points together, though on none alone" if first is None else _where(x, first)
        raise ValueError(f"{function}: f must return values at the points; it raised {type(error).__name__}, {where}") from error
    return enter_values(function, "f", values, basis, len(x))


def missing(values: Values) -> np.ndarray:
    """List the points without a finite value."""
    return np.flatnonzero(~np.isfinite(values.B).all(axis=1))


def redrawn(
    function: str, f: Callable[[Array], Any], basis: Basis, x: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, Values]:
    """Replace points at which f has no value by others from nu, which must be independent of the rest.

    Raises
    ------
    ValueError
        f raises, or after many rounds there is still a point without a value.
    """
    x, values = x.copy(), evaluate(function, f, basis, x)
    B, bad = values.B.copy(), missing(values)
    for _ in range(ROUNDS):
        bad = missing(Values(B, values.vector, values.door, values.like))
        if not bad.size:
            return x, Values(B, values.vector, values.door, values.like)
        x[bad] = basis.draw(bad.size, generator)
        B[bad] = evaluate(function, f, basis, x[bad]).B
    raise ValueError(f"{function}: f must be finite somewhere; got no value at point {bad[0]} in {ROUNDS} draws")


def _argument(basis: Basis, x: np.ndarray) -> Array:
    if basis.discrete:
        return outside(basis, x)
    return x[:, 0] if basis.dim == 1 else x


def _raises(f: Callable[[Array], Any], x: Array) -> bool:
    try:
        f(x)
    except Exception:  # whatever it is, it is what is being looked for
        return True
    return False


def _where(x: np.ndarray, place: int) -> str:
    at = x[place].tolist() if x.ndim > 1 else int(x[place])
    return f"the first is point {place}, at {at[0] if isinstance(at, list) and len(at) == 1 else at}"
