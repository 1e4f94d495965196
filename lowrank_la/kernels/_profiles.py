"""Kernel functions of two points in vector registers: sums over their coordinates, and what becomes of them.

Points come scaled so that exponents are powers of two: a sum t of squares or of absolute differences, or its root, gives
2^-t without further factors. 2^-t is a polynomial on [-1/2, 1/2] times a power of two that is added to the exponent bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lowrank_la.kernels import _tile
from lowrank_la.kernels._vector import Vector

DEGREE = {64: 11, 32: 6}
FRACTION_BITS = {64: 52, 32: 23}
LEAST = {64: -1021.0, 32: -125.0}  # exponents below it give zero


def _coefficients(degree: int) -> list[float]:
    """Polynomial for 2^r on [-1/2, 1/2], exactly 1 at zero: the series of (2^r - 1) / r, shortened by Chebyshev polynomials."""
    slope = np.array([math.log(2) ** (k + 1) / math.factorial(k + 1) for k in range(degree + 4)])
    for last in range(degree + 3, degree - 1, -1):
        T = np.polynomial.Chebyshev.basis(last, domain=[-0.5, 0.5]).convert(kind=np.polynomial.Polynomial).coef
        slope[: last + 1] -= slope[last] / T[last] * T
    return [1.0, *slope[:degree].tolist()]


COEFFICIENTS = {bits: _coefficients(degree) for bits, degree in DEGREE.items()}


def exp2(t: Vector) -> Vector:
    """Return 2^t for t <= 0 within 2 units in the last place, exactly 1 for 0, and 0 for t <= -1021 (float32: -125) and NaN."""
    bits = t.bits().value.type.element.width
    magic = 1.5 * 2.0 ** FRACTION_BITS[bits]  # in the sum with it, the last bits are those of the nearest integer
    inside = t.where_above(LEAST[bits], LEAST[bits])
    shifted = inside + magic
    r = inside - (shifted - magic)
    total = r.constant(COEFFICIENTS[bits][-1])
    for coefficient in COEFFICIENTS[bits][-2::-1]:
        total = total.times_plus(r, coefficient)
    value = (total.bits() + (shifted.bits() << FRACTION_BITS[bits])).as_float()
    above = t.builder.fcmp_ordered(">", t.value, t.constant(LEAST[bits]).value)
    return Vector(t.builder, t.builder.select(above, value.value, t.constant(0.0).value))


def gauss(t: Vector) -> Vector:
    """2^-t, of a sum of squares or of absolute values."""
    return exp2(t * -1.0)


def matern12(t: Vector) -> Vector:
    """2^-sqrt(t)."""
    return exp2(t.sqrt() * -1.0)


def matern32(t: Vector) -> Vector:
    """(1 + r) e^-r for r = sqrt(t) log 2."""
    root = t.sqrt()
    return root.times_plus(math.log(2), 1.0) * exp2(root * -1.0)


def matern52(t: Vector) -> Vector:
    """(1 + r + r^2 / 3) e^-r for r = sqrt(t) log 2."""
    root = t.sqrt()
    return root.times_plus(root.times_plus(math.log(2) ** 2 / 3, math.log(2)), 1.0) * exp2(root * -1.0)


def profile(formula: Callable[[Vector], Vector], *, products: bool) -> Callable[..., None]:
    """Build `put(count, c, ic, norms, norm, own, i, out, o)`: formulas of sums.

    For 0 <= j < count, rounded up to whole vectors, the intrinsic stores in out[o + j] the formula of c[ic + j]; or, if c holds
    inner `products` of points, of their squared distance norms[norm + j] + own[i] - 2 c[ic + j], or zero if that is negative.
    """

    @intrinsic
    def put(typingctx, count, c, ic, norms, norm, own, i, out, o):  # type: ignore[no-untyped-def]
        lanes = _tile.lanes_of(str(c.dtype))
        signature = types.void(types.intp, c, types.intp, norms, types.intp, own, types.intp, out, types.intp)

        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            count, _, ic, _, norm, _, i, _, o = values
            C, N, own, out = (_tile.Memory(context, builder, signature.args[p], values[p], lanes) for p in (1, 3, 5, 7))
            square = Vector(builder, own.broadcast(i, own.vector)) if products else None

            def step(block, _):  # type: ignore[no-untyped-def]
                j = builder.mul(block, _tile.integer(lanes))
                t = Vector(builder, C.load(builder.add(ic, j)))
                if square is not None:
                    t = t.times_plus(-2.0, square + Vector(builder, N.load(builder.add(norm, j))))
                    t = t.where_above(0.0, 0.0)
                out.store(formula(t).value, builder.add(o, j))
                return []

            _tile.loop(builder, builder.sdiv(builder.add(count, _tile.integer(lanes - 1)), _tile.integer(lanes)), [], step)
            return context.get_dummy_value()

        return signature, emit

    return put


def differences(term: Callable[[Vector, Vector], Vector], rows: int = _tile.ROWS, vectors: int = _tile.VECTORS) -> Callable[..., None]:
    """Build `sums(K, a, ia, sai, b, ib, sbk, c, ic, sc)`, sums over the coordinates of two sets of points.

    For 0 <= i < rows and 0 <= v < vectors * lanes, c[ic + i * sc + v] becomes the sum over k < K of
    the `term` of a[ia + i * sai + k] - b[ib + k * sbk + v].
    """

    @intrinsic
    def sums(typingctx, K, a, ia, sai, b, ib, sbk, c, ic, sc):  # type: ignore[no-untyped-def]
        lanes = _tile.lanes_of(str(c.dtype))
        signature = types.void(types.intp, a, *[types.intp] * 2, b, *[types.intp] * 2, c, *[types.intp] * 2)

        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            K, _, ia, sai, _, ib, sbk, _, ic, sc = values
            A, B, C = (_tile.Memory(context, builder, signature.args[p], values[p], lanes) for p in (1, 4, 7))

            def step(k, totals):  # type: ignore[no-untyped-def]
                at = builder.add(ib, builder.mul(k, sbk))
                right = [Vector(builder, B.load(builder.add(at, _tile.integer(v * lanes)))) for v in range(vectors)]
                left = [builder.add(builder.add(ia, k), _tile.strided(builder, sai, i, 0)) for i in range(rows)]
                left = [Vector(builder, A.broadcast(at, A.vector)) for at in left]
                return [term(left[t // vectors] - right[t % vectors], Vector(builder, totals[t])).value for t in range(rows * vectors)]

            totals = _tile.loop(builder, K, [ir.Constant(C.vector, None)] * (rows * vectors), step)
            for t, total in enumerate(totals):
                corner = builder.add(ic, _tile.strided(builder, sc, t // vectors, t % vectors * lanes))
                C.store(total, corner)
            return context.get_dummy_value()

        return signature, emit

    return sums


def square(difference: Vector, total: Vector) -> Vector:
    """Add the square of a difference."""
    return difference.times_plus(difference, total)


def absolute(difference: Vector, total: Vector) -> Vector:
    """Add the absolute value of a difference."""
    return total + difference.magnitude()
