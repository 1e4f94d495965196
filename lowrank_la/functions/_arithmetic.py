"""Functions made of functions: what their certificates become, sums, products, and functions of values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lowrank_la._arrays import Array, Door
from lowrank_la._result import Certificate
from lowrank_la.functions import _algebra, _evidence, _operands, _parts, _product
from lowrank_la.functions._evidence import AS_THEY_STAND, CLAIM, bound_of, follow, roundoff
from lowrank_la.functions._parts import Parts

if TYPE_CHECKING:
    from lowrank_la.functions._function import FunctionTucker

PRODUCT_TOL = 1e-12  # of products


def combined(door: Door, parts: Parts, operands: Sequence[FunctionTucker], certificate: Certificate, truncation: float) -> FunctionTucker:
    """Hand out what became of some functions, with what of their evidence remains true."""
    parts = _parts.orthonormal(parts)
    return replace(
        operands[0],
        core=door.leave_wide(parts.core),
        factors=tuple(map(door.leave_wide, parts.factors)),
        domain=parts.domain,
        certificate=certificate,
        resolved=all(f.resolved for f in operands),
        tail=_parts.tails(parts),
        truncation=truncation,
        sample_max=math.inf,
        sample_rms=math.inf,
        stability=max(f.stability for f in operands),
        n_evaluations=sum(f.n_evaluations for f in operands),
    )


def pair(name: str, one: FunctionTucker, other: Any) -> tuple[Door, Parts, Parts]:
    """Take two functions inside.

    Raises
    ------
    TypeError
        The other one is no function.
    """
    if not isinstance(other, type(one)):
        raise TypeError(f"{name}: other must be a FunctionTucker; got {type(other).__name__}")
    door, parts = one._inside()
    return door, *_operands.joined(name, parts, other._inside()[1])


def total(name: str, one: FunctionTucker, other: Any, sign: float) -> FunctionTucker:
    """Add a function or a number, with a sign."""
    number = _operands.as_number(other)
    if number is not None:
        door, parts = one._inside()
        constant = Parts(*_algebra.constant(number, parts))
        other = combined(door, constant, (one,), Certificate(CLAIM, 0.0, 1.0, "exact"), 0.0)
        other = replace(other, resolved=True, stability=1.0, n_evaluations=0)
    if not isinstance(other, type(one)):
        return NotImplemented
    door, first, second = pair(name, one, other)
    whole = _algebra.add(first, _operands.scaled(second, sign))
    result, dropped = _algebra.compressed(whole, _algebra.noise(whole, _parts.frobenius(first.core) + _parts.frobenius(second.core)))
    bound = bound_of(one.certificate) + bound_of(other.certificate) + roundoff(first) + roundoff(second) + dropped
    certificate = follow([one.certificate, other.certificate], bound, "sum of bounds")
    return combined(door, result, (one, other), certificate, one.truncation + other.truncation + dropped)


def product(name: str, one: FunctionTucker, other: FunctionTucker, tol: float, seed: int) -> FunctionTucker:
    """Multiply, by coefficients or, where those would take too much memory, by samples."""
    door, first, second = pair(name, one, other)
    _operands.refuse_outputs(name, first)
    whole = _product.product(first, second, tol)
    if whole is None:
        return sampled(lambda *x: one(*x) * other(*x), (one, other), max(tol, PRODUCT_TOL), seed)
    whole = _parts.orthonormal(whole)
    size = _parts.frobenius(whole.core)
    result, dropped = _algebra.compressed(whole, max(tol * size, _algebra.noise(whole, size)))
    result = _parts.orthonormal(result)
    seen = _evidence.from_samples(*_product.errors(first, second, result, seed), roundoff(whole), AS_THEY_STAND)
    return combined(door, result, (one, other), follow([one.certificate, other.certificate, seen], seen.bound, seen.method), dropped)


def sampled(function: Callable[..., Array], operands: Sequence[FunctionTucker], tol: float, rng: Any) -> FunctionTucker:
    """Approximate a function of functions from its values."""
    from lowrank_la.functions._construct import chebyshev_tucker  # which builds on this file

    answer = chebyshev_tucker(function, operands[0].domain, tol=tol, method="cross", vectorized=True, rng=rng)
    said = answer.certificate
    certificate = follow([*(f.certificate for f in operands), said], said.bound, said.method, AS_THEY_STAND)
    return replace(answer, certificate=certificate, resolved=answer.resolved and all(f.resolved for f in operands))
