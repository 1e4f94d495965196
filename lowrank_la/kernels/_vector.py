"""Random numbers in vector registers: plain formulas that emit LLVM IR.

Compilers use half the width of AVX-512 for the loops of Numba, and none of it for
logarithms and cosines. A `Vector` is a value of LLVM IR under Python's operators, so that a
formula written once in Python, such as Philox's rounds, becomes a few dozen vector
instructions. `drawn` turns such a formula into a Numba intrinsic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lowrank_la.kernels import _tile, philox

LANES = _tile.lanes_of(np.float64)
_ROOT = int(np.float64(math.sqrt(0.5)).view(np.uint64))
_ONE = int(np.float64(1).view(np.uint64))
_FRACTION_BITS = 52


class Vector:
    """A vector of float64, float32 or unsigned integers of their size inside a function under construction."""

    __array_ufunc__ = None  # NumPy's numbers leave the operators to this class

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self.builder, self.value = builder, value
        self.is_float = not isinstance(value.type.element, ir.IntType)

    def constant(self, number: Any) -> Vector:
        """Return a number in every lane, of the type of this vector."""
        kind = self.value.type
        return Vector(self.builder, ir.Constant(kind, [kind.element(float(number) if self.is_float else int(number))] * kind.count))

    def __add__(self, other: Operand) -> Vector:
        return self._with(self.builder.fadd if self.is_float else self.builder.add, other)

    def __sub__(self, other: Operand) -> Vector:
        return self._with(self.builder.fsub if self.is_float else self.builder.sub, other)

    def __mul__(self, other: Operand) -> Vector:
        return self._with(self.builder.fmul if self.is_float else self.builder.mul, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Operand) -> Vector:
        return self._with(self.builder.fdiv, other)

    def __and__(self, other: Operand) -> Vector:
        return self._with(self.builder.and_, other)

    def __or__(self, other: Operand) -> Vector:
        return self._with(self.builder.or_, other)

    def __xor__(self, other: Operand) -> Vector:
        return self._with(self.builder.xor, other)

    def __lshift__(self, other: Operand) -> Vector:
        return self._with(self.builder.shl, other)

    def __rshift__(self, other: Operand) -> Vector:
        return self._with(self.builder.lshr, other)

    def times_plus(self, factor: Operand, term: Operand) -> Vector:
        """Return self * factor + term, rounded once."""
        return self._call("llvm.fma", self._operand(factor), self._operand(term))

    def sqrt(self) -> Vector:
        """Return the square root of floating-point numbers."""
        return self._call("llvm.sqrt")

    def where(self, bit: Vector, other: Vector) -> Vector:
        """Return self in the lanes whose bit 0 is set, else other."""
        set_ = self.builder.trunc(bit.value, ir.VectorType(ir.IntType(1), self.value.type.count))
        return Vector(self.builder, self.builder.select(set_, self.value, other.value))

    def where_above(self, least: Operand, other: Operand) -> Vector:
        """Return self in the lanes where it is above `least`, else other; NaN is not above."""
        above = self.builder.fcmp_ordered(">", self.value, self._operand(least))
        return Vector(self.builder, self.builder.select(above, self.value, self._operand(other)))

    def magnitude(self) -> Vector:
        """Return the absolute value of floating-point numbers."""
        return self._call("llvm.fabs")

    def number(self) -> Vector:
        """Return integers below 2^52 as floating-point numbers: 2^52 has room for them in its last bits."""
        power = float(1 << _FRACTION_BITS)
        return (self | int(np.float64(power).view(np.uint64))).as_float() - power

    def bits(self) -> Vector:
        """Return floating-point numbers as the integers with the same bits."""
        wide = isinstance(self.value.type.element, ir.DoubleType)
        return Vector(self.builder, self.builder.bitcast(self.value, ir.VectorType(ir.IntType(64 if wide else 32), self.value.type.count)))

    def as_float(self) -> Vector:
        """Return integers as the floating-point numbers with the same bits."""
        element = ir.DoubleType() if self.value.type.element.width == 64 else ir.FloatType()
        return Vector(self.builder, self.builder.bitcast(self.value, ir.VectorType(element, self.value.type.count)))

    def _with(self, operation: Callable[..., ir.Value], other: Operand) -> Vector:
        return Vector(self.builder, operation(self.value, self._operand(other)))

    def _operand(self, other: Operand) -> ir.Value:
        return other.value if isinstance(other, Vector) else self.constant(other).value

    def _call(self, name: str, *others: ir.Value) -> Vector:
        kind = self.value.type
        signature = ir.FunctionType(kind, [kind] * (1 + len(others)))
        suffix = "f64" if isinstance(kind.element, ir.DoubleType) else "f32"
        function = cgutils.get_or_insert_function(self.builder.module, signature, f"{name}.v{kind.count}{suffix}")
        return Vector(self.builder, self.builder.call(function, [self.value, *others]))


Operand: TypeAlias = "Vector | float | np.generic"


def drawn(formula: Callable[..., Sequence[Vector]]) -> Callable[..., None]:
    """Build `fill(count, seed, stream, major, minor, out, o, so)`, four rows of random numbers.

    For 0 <= j < count, rounded up to whole vectors, the intrinsic stores the four results of
    `formula`, given the four words of Philox(major + j, minor), in out[o + t * so + j] for
    t = 0 to 3. `out` holds float64, float32 or uint32.
    """

    @intrinsic
    def fill(typingctx, count, seed, stream, major, minor, out, o, so):  # type: ignore[no-untyped-def]
        signature = types.void(types.intp, *[types.uint64] * 4, out, *[types.intp] * 2)

        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            count, seed, stream, major, minor, _, o, so = values
            memory = _tile.Memory(context, builder, signature.args[5], values[5], LANES)
            lanes = _tile.integer(LANES)
            numbers = ir.Constant(ir.VectorType(ir.IntType(64), LANES), list(range(LANES)))

            def step(block, _):  # type: ignore[no-untyped-def]
                j = builder.mul(block, lanes)
                rows = _splat(builder, builder.add(major, j)) + Vector(builder, numbers)
                counter = philox.counter(*(_splat(builder, x) for x in (seed, stream)), rows, _splat(builder, minor))
                for t, result in enumerate(formula(*philox.rounds(*counter))):
                    at = builder.add(o, builder.add(builder.mul(so, _tile.integer(t)), j))
                    memory.store(_narrowed(builder, result.value, memory.vector), at)
                return []

            blocks = builder.sdiv(builder.add(count, _tile.integer(LANES - 1)), lanes)
            _tile.loop(builder, blocks, [], step)
            return context.get_dummy_value()

        return signature, emit

    return fill


def _splat(builder: ir.IRBuilder, scalar: ir.Value) -> Vector:
    one = builder.insert_element(ir.Constant(ir.VectorType(scalar.type, LANES), ir.Undefined), scalar, _tile.integer(0, 32))
    return Vector(builder, builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)))


def _narrowed(builder: ir.IRBuilder, value: ir.Value, kind: ir.VectorType) -> ir.Value:
    if value.type == kind:
        return value
    return builder.trunc(value, kind) if isinstance(kind.element, ir.IntType) else builder.fptrunc(value, kind)


def words(*four: Vector) -> Sequence[Vector]:
    """Give the words themselves: a formula for `drawn`."""
    return four


def normals(first: Vector, second: Vector, third: Vector, fourth: Vector) -> Sequence[Vector]:
    """Two Box-Muller pairs, each of two words: a formula for `drawn`."""
    return [*_pair(first, second), *_pair(third, fourth)]


def _pair(first: Vector, second: Vector) -> tuple[Vector, Vector]:
    radius = (_log((first.number() + 0.5) * 2.0**-32) * -2.0).sqrt()
    cosine, sine = _turn(second)
    return radius * cosine, radius * sine


def _log(x: Vector) -> Vector:
    """Logarithm within 2 units in the last place: x = 2^k m with m near 1, log(m) = 2 artanh(s) for s = (m - 1) / (m + 1)."""
    bits = x.bits() + (_ONE - _ROOT)  # so that k changes at sqrt(1/2) and s stays below 0.172
    k = (bits >> _FRACTION_BITS).number() - 1023.0
    m = ((bits & ((1 << _FRACTION_BITS) - 1)) + _ROOT).as_float()
    s = (m - 1.0) / (m + 1.0)
    series = _polynomial(s * s, [2 / (2 * i + 1) for i in range(11)])
    return k.times_plus(math.log(2), s * series)


def _turn(word: Vector) -> tuple[Vector, Vector]:
    """Cosine and sine of the angle 2 pi (word + 1/2) / 2^32, rounded as the reference rounds it."""
    angle = (word.number() + 0.5) * 2.0**-32 * (2 * math.pi)
    quarter = (word + (1 << 29)) >> 30
    x = quarter.number().times_plus(-math.pi / 2, angle)
    x = quarter.number().times_plus(-math.cos(math.pi / 2), x)  # what math.pi / 2 lacks of pi / 2
    z = x * x
    sine = x.times_plus(z * _polynomial(z, [(-1) ** i / math.factorial(2 * i + 1) for i in range(1, 9)]), x)
    cosine = z.times_plus(_polynomial(z, [(-1) ** i / math.factorial(2 * i) for i in range(1, 9)]), 1.0)
    swapped = sine.where(quarter, cosine), cosine.where(quarter, sine)
    signs = ((quarter + 1) & 2) << 62, (quarter & 2) << 62
    return tuple((part.bits() ^ sign).as_float() for part, sign in zip(swapped, signs, strict=True))


def _polynomial(x: Vector, coefficients: Sequence[float]) -> Vector:
    total = x.constant(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total.times_plus(x, coefficient)
    return total
