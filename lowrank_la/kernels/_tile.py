"""Register tiles: the inner loops of dense kernels, emitted as vector code for the host's CPU.

Compilers do not keep a block of a matrix product in registers on their own. The
functions here build Numba intrinsics that do. They and those of `_tile_signs`, `_vector` and `_profiles` are the code of the
library that emits LLVM IR; kernels call them inside `njit` functions with ordinary arrays::

    from numba import njit
    from lowrank_la.kernels import _tile

    syrk = _tile.outer(rows=8, vectors=3, lanes=8)      # at module level, once

    @njit(cache=True)
    def gram(panel, K, C):                              # panel (K, 24), C (24, 24), both float32 and contiguous
        for i in range(0, 24, 8):                       # C[i:i+8, :] += panel[:, i:i+8].T @ panel
            syrk(K, panel, i, 1, 24, panel, 0, 24, C, 24 * i, 24)

Arrays of any shape are read as flat memory from their first element on: every operand
comes with the flat index of its corner and its strides, all in elements. Nothing is
checked. An operand of another precision than the result (float32 or float64) is converted
as it is loaded. Because the arrays themselves are arguments, they stay alive during the call.

Every product is fused with its sum where the CPU can. A sum runs over k in order, so
the answer is a pure function of the operands on one kind of CPU. A Numba cache does not
notice a change of this file: empty the `__pycache__` of the kernels after editing it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic


def _vector_bytes() -> int:
    """Width of the vector registers of the CPU that Numba compiles for."""
    features = cpu_target.target_context.codegen().magic_tuple()[2]
    if "+avx512f" in features:
        return 64
    return 32 if "+avx2" in features else 16


VECTOR_BYTES = _vector_bytes()
ROWS = 8 if VECTOR_BYTES == 64 else 4  # with VECTORS columns of vectors, the tile that leaves a few registers free
VECTORS = 2


def lanes_of(dtype: Any) -> int:
    """Elements of a dtype in one vector register."""
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def outer(rows: int = ROWS, vectors: int = VECTORS, lanes: int | None = None, *, add: bool = True) -> Callable[..., None]:
    """Build `tile(K, a, ia, sai, sak, b, ib, sbk, c, ic, sc)`, a block of a matrix product.

    The tile computes, for 0 <= i < rows and 0 <= v < vectors * lanes,

        c[ic + i * sc + v] (+)= sum_{k < K} a[ia + i * sai + k * sak] * b[ib + k * sbk + v]

    in the dtype of c, adding to c if `add`, else overwriting it. `lanes` is the vector
    length, that of the host's registers by default (8 float64 or 16 float32 with AVX-512).
    rows * vectors sums and vectors + 1 operands live in registers: keep their number
    within 32 with AVX-512, 16 with AVX2. Full vectors of the host are fastest.
    """

    @intrinsic
    def tile(typingctx, K, a, ia, sai, sak, b, ib, sbk, c, ic, sc):  # type: ignore[no-untyped-def]
        wide = lanes or lanes_of(str(c.dtype))
        signature = types.void(types.intp, a, *[types.intp] * 3, b, *[types.intp] * 2, c, *[types.intp] * 2)

        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            K, _, ia, sai, sak, _, ib, sbk, _, ic, sc = values
            A, B, C = (Memory(context, builder, signature.args[p], values[p], wide) for p in (1, 5, 8))
            corners = [[builder.add(ic, strided(builder, sc, i, v * wide)) for v in range(vectors)] for i in range(rows)]
            zero = ir.Constant(C.vector, None)
            sums = [C.load(corner) if add else zero for row in corners for corner in row]

            def step(k, sums):  # type: ignore[no-untyped-def]
                at = builder.add(ib, builder.mul(k, sbk))
                right = [B.load(builder.add(at, integer(v * wide)), C.vector) for v in range(vectors)]
                at = builder.add(ia, builder.mul(k, sak))
                left = [A.broadcast(builder.add(at, strided(builder, sai, i, 0)), C.vector) for i in range(rows)]
                return [multiply_add(builder, left[t // vectors], right[t % vectors], sums[t]) for t in range(rows * vectors)]

            sums = loop(builder, K, sums, step)
            for t, total in enumerate(sums):
                C.store(total, corners[t // vectors][t % vectors])
            return context.get_dummy_value()

        return signature, emit

    return tile


def remainder(rows: int = ROWS, vectors: int = VECTORS, lanes: int | None = None) -> Callable[..., None]:
    """Build `squares(K, a, ia, sai, sak, b, ib, sbk, d, id, sd, c, ic)`, the squared entries of a block minus a product, never stored.

    For 0 <= v < lanes the intrinsic adds to c[ic + v], in the dtype of c, the sum over 0 <= i < rows and 0 <= j < vectors of

        (d[id + i * sd + j * lanes + v] - sum_{k < K} a[ia + i * sai + k * sak] * b[ib + k * sbk + j * lanes + v])^2.
    """

    @intrinsic
    def squares(typingctx, K, a, ia, sai, sak, b, ib, sbk, d, id, sd, c, ic):  # type: ignore[no-untyped-def]
        wide = lanes or lanes_of(str(c.dtype))
        signature = types.void(types.intp, a, *[types.intp] * 3, b, *[types.intp] * 2, d, *[types.intp] * 2, c, types.intp)

        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            K, _, ia, sai, sak, _, ib, sbk, _, id, sd, _, ic = values
            A, B, D, C = (Memory(context, builder, signature.args[p], values[p], wide) for p in (1, 5, 8, 11))
            corners = [builder.add(id, strided(builder, sd, i, j * wide)) for i in range(rows) for j in range(vectors)]

            def step(k, sums):  # type: ignore[no-untyped-def]
                at = builder.add(ib, builder.mul(k, sbk))
                right = [B.load(builder.add(at, integer(j * wide)), C.vector) for j in range(vectors)]
                at = builder.add(ia, builder.mul(k, sak))
                left = [A.broadcast(builder.add(at, strided(builder, sai, i, 0)), C.vector) for i in range(rows)]
                left = [builder.fneg(x) for x in left]
                return [multiply_add(builder, left[t // vectors], right[t % vectors], sums[t]) for t in range(rows * vectors)]

            total = C.load(ic)
            for rest in loop(builder, K, [D.load(corner, C.vector) for corner in corners], step):
                total = multiply_add(builder, rest, rest, total)
            C.store(total, ic)
            return context.get_dummy_value()

        return signature, emit

    return squares


def inner(rows: int = ROWS, lanes: int | None = None, *, apart: bool = False) -> Callable[..., None]:
    """Build `dots(K, a, ia, sa, x, ix, c, ic)`, inner products of a few vectors with one.

    The intrinsic adds to c[ic + i], for 0 <= i < rows, the sum of a[ia + i * sa + k] *
    x[ix + k] over k < K, in the dtype of c. Each sum runs in `lanes` (at most the
    register's) interleaved parts, which are added in a tree at the end. If they stay `apart`,
    K is a multiple of `lanes`, and part v is added to c[ic + i * lanes + v].
    """

    @intrinsic
    def dots(typingctx, K, a, ia, sa, x, ix, c, ic):  # type: ignore[no-untyped-def]
        wide = lanes or lanes_of(str(c.dtype))
        signature = types.void(types.intp, a, *[types.intp] * 2, x, types.intp, c, types.intp)

        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            K, _, ia, sa, _, ix, _, ic = values
            A, X, C = (Memory(context, builder, signature.args[p], values[p], wide) for p in (1, 4, 6))
            starts = [builder.add(ia, strided(builder, sa, i, 0)) for i in range(rows)]

            def step(block, sums):  # type: ignore[no-untyped-def]
                k = builder.mul(block, integer(wide))
                right = X.load(builder.add(ix, k), C.vector)
                return [multiply_add(builder, A.load(builder.add(at, k), C.vector), right, s) for at, s in zip(starts, sums, strict=True)]

            def tail(k, sums):  # type: ignore[no-untyped-def]
                right = X.element(builder.add(ix, k), C.scalar)
                return [
                    multiply_add(builder, A.element(builder.add(at, k), C.scalar), right, s) for at, s in zip(starts, sums, strict=True)
                ]

            blocks = builder.sdiv(K, integer(wide))
            if apart:
                places = [builder.add(ic, integer(i * wide)) for i in range(rows)]
                for total, at in zip(loop(builder, blocks, [C.load(at) for at in places], step), places, strict=True):
                    C.store(total, at)
                return context.get_dummy_value()
            sums = loop(builder, blocks, [ir.Constant(C.vector, None)] * rows, step)
            sums = [_tree(builder, s, wide) for s in sums]
            sums = loop(builder, K, sums, tail, start=builder.mul(blocks, integer(wide)))
            for i, total in enumerate(sums):
                at = builder.add(ic, integer(i))
                C.put(builder.fadd(C.element(at, C.scalar), total), at)
            return context.get_dummy_value()

        return signature, emit

    return dots


def squares(rows: int = ROWS, vectors: int = VECTORS) -> Callable[..., None]:
    """Build `norms(K, q, iq, si, sk, c, ic)`, squared norms of a few rows of panels.

    The intrinsic stores in c[ic + i], for 0 <= i < rows, the sum over k < K and 0 <= v < vectors * lanes
    of q[iq + i * si + k * sk + v]^2, in the dtype of c.
    """

    @intrinsic
    def norms(typingctx, K, q, iq, si, sk, c, ic):  # type: ignore[no-untyped-def]
        wide = lanes_of(str(c.dtype))
        signature = types.void(types.intp, q, *[types.intp] * 3, c, types.intp)

        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            K, _, iq, si, sk, _, ic = values
            Q, C = (Memory(context, builder, signature.args[p], values[p], wide) for p in (1, 5))

            def step(k, sums):  # type: ignore[no-untyped-def]
                corner = builder.add(iq, builder.mul(k, sk))
                for v in range(vectors):
                    parts = [Q.load(builder.add(corner, strided(builder, si, i, v * wide)), C.vector) for i in range(rows)]
                    sums = [multiply_add(builder, part, part, total) for part, total in zip(parts, sums, strict=True)]
                return sums

            sums = loop(builder, K, [ir.Constant(C.vector, None)] * rows, step)
            for i, total in enumerate(sums):
                C.put(_halves(builder, total, wide), builder.add(ic, integer(i)))
            return context.get_dummy_value()

        return signature, emit

    return norms


def gather(vectors: int = VECTORS, lanes: int | None = None) -> Callable[..., None]:
    """Build `add(K, a, ia, sa, order, weight, io, c, ic)`, a weighted sum of chosen rows of a.

    The intrinsic adds to c[ic + v], for 0 <= v < vectors * lanes, the sum over k < K of
    weight[io + k] * a[ia + order[io + k] * sa + v], in the dtype of c and in order of k.
    """

    @intrinsic
    def add(typingctx, K, a, ia, sa, order, weight, io, c, ic):  # type: ignore[no-untyped-def]
        wide = lanes or lanes_of(str(c.dtype))
        signature = types.void(types.intp, a, *[types.intp] * 2, order, weight, types.intp, c, types.intp)

        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            K, _, ia, sa, _, _, io, _, ic = values
            A, order, weight, C = (Memory(context, builder, signature.args[p], values[p], wide) for p in (1, 4, 5, 7))
            corners = [builder.add(ic, integer(v * wide)) for v in range(vectors)]

            def step(k, sums):  # type: ignore[no-untyped-def]
                at = builder.add(io, k)
                row = builder.add(ia, builder.mul(order.integer(at), sa))
                left = weight.broadcast(at, C.vector)
                return [multiply_add(builder, left, A.load(builder.add(row, integer(v * wide)), C.vector), s) for v, s in enumerate(sums)]

            sums = loop(builder, K, [C.load(corner) for corner in corners], step)
            for total, corner in zip(sums, corners, strict=True):
                C.store(total, corner)
            return context.get_dummy_value()

        return signature, emit

    return add


def scatter(vectors: int = VECTORS, lanes: int | None = None) -> Callable[..., None]:
    """Build `add(K, y, iy, order, weight, io, c, ic, sc)`, which adds multiples of one row to chosen rows of c.

    For k < K, in this order, and 0 <= v < vectors * lanes, the intrinsic adds
    weight[io + k] * y[iy + v] to c[ic + order[io + k] * sc + v], in the dtype of c.
    """

    @intrinsic
    def add(typingctx, K, y, iy, order, weight, io, c, ic, sc):  # type: ignore[no-untyped-def]
        wide = lanes or lanes_of(str(c.dtype))
        signature = types.void(types.intp, y, types.intp, order, weight, types.intp, c, *[types.intp] * 2)

        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            K, _, iy, _, _, io, _, ic, sc = values
            Y, order, weight, C = (Memory(context, builder, signature.args[p], values[p], wide) for p in (1, 3, 4, 6))
            right = [Y.load(builder.add(iy, integer(v * wide)), C.vector) for v in range(vectors)]

            def step(k, _):  # type: ignore[no-untyped-def]
                at = builder.add(io, k)
                row = builder.add(ic, builder.mul(order.integer(at), sc))
                left = weight.broadcast(at, C.vector)
                for v, x in enumerate(right):
                    corner = builder.add(row, integer(v * wide))
                    C.store(multiply_add(builder, left, x, C.load(corner)), corner)
                return []

            loop(builder, K, [], step)
            return context.get_dummy_value()

        return signature, emit

    return add


def inner_fine(rows: int = 4) -> Callable[..., None]:
    """Build `dots(K, a, ia, sa, x, y, ix, c, e, ic)`, inner products in twice the precision of c.

    The intrinsic adds to the pair c[ic + i] + e[ic + i], for 0 <= i < rows, the sum of
    a[ia + i * sa + k] * (x[ix + k] + y[ix + k]) over k < K: values go to c, what rounding
    loses of them to e. y must be small beside x.
    """

    @intrinsic
    def dots(typingctx, K, a, ia, sa, x, y, ix, c, e, ic):  # type: ignore[no-untyped-def]
        wide = lanes_of(str(c.dtype))
        signature = types.void(types.intp, a, *[types.intp] * 2, x, y, types.intp, c, e, types.intp)

        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            K, _, ia, sa, _, _, ix, _, _, ic = values
            A, X, Y, C, E = (Memory(context, builder, signature.args[p], values[p], wide) for p in (1, 4, 5, 7, 8))
            starts = [builder.add(ia, strided(builder, sa, i, 0)) for i in range(rows)]

            def add(k, pairs, keep):  # type: ignore[no-untyped-def]
                right, small = (keep(part.load(builder.add(ix, k), C.vector)) for part in (X, Y))
                left = [A.load(builder.add(at, k), C.vector) for at in starts]
                return _flat(_fine(builder, *pair, value, right, small) for pair, value in zip(_pairs(pairs), left, strict=True))

            def add_one(k, pairs):  # type: ignore[no-untyped-def]
                right, small = (part.element(builder.add(ix, k), C.scalar) for part in (X, Y))
                left = [A.element(builder.add(at, k), C.scalar) for at in starts]
                return _flat(_fine(builder, *pair, value, right, small) for pair, value in zip(_pairs(pairs), left, strict=True))

            blocks, rest = builder.sdiv(K, integer(wide)), builder.srem(K, integer(wide))
            pairs = [ir.Constant(C.vector, None)] * (2 * rows)
            pairs = loop(builder, blocks, pairs, lambda b, s: add(builder.mul(b, integer(wide)), s, lambda x: x))
            short = builder.icmp_signed("<", K, integer(wide))
            again = _lanes_from(builder, builder.sub(integer(wide), rest), wide)  # the last vector overlaps what was added: skip that
            once = builder.select(builder.or_(short, builder.icmp_signed("==", rest, integer(0))), integer(0), integer(1))
            last = builder.sub(K, integer(wide))
            pairs = loop(builder, once, pairs, lambda _, s: add(last, s, lambda x: builder.select(again, x, ir.Constant(C.vector, None))))
            pairs = _flat(_fine_tree(builder, *pair, wide) for pair in _pairs(pairs))
            pairs = loop(builder, builder.select(short, K, integer(0)), pairs, add_one)
            for i, (value, error) in enumerate(_pairs(pairs)):
                at = builder.add(ic, integer(i))
                total, lost = _two_sum(builder, C.element(at, C.scalar), value)
                C.put(total, at)
                E.put(builder.fadd(E.element(at, C.scalar), builder.fadd(error, lost)), at)
            return context.get_dummy_value()

        return signature, emit

    return dots


def outer_fine(vectors: int = 4) -> Callable[..., None]:
    """Build `strip(K, s, t, i, a, ia, sak, c, e, ic, first)`, a combination of vectors in twice the precision of c.

    The intrinsic adds to the pairs c[ic + v] + e[ic + v], for first <= v < vectors * lanes
    with first <= lanes, the sum of (s[i + k] + t[i + k]) * a[ia + k * sak + v] over k < K.
    t must be small beside s. The pairs before `first` keep their value.
    """

    @intrinsic
    def strip(typingctx, K, s, t, i, a, ia, sak, c, e, ic, first):  # type: ignore[no-untyped-def]
        wide = lanes_of(str(c.dtype))
        signature = types.void(types.intp, s, t, types.intp, a, *[types.intp] * 2, c, e, *[types.intp] * 2)

        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            K, _, _, i, _, ia, sak, _, _, ic, first = values
            S, T, A, C, E = (Memory(context, builder, signature.args[p], values[p], wide) for p in (1, 2, 4, 7, 8))
            places = [builder.add(ic, integer(v * wide)) for v in range(vectors)]
            valid = _lanes_from(builder, first, wide)

            def step(k, pairs):  # type: ignore[no-untyped-def]
                value, small = (part.broadcast(builder.add(i, k), C.vector) for part in (S, T))
                at = builder.add(ia, builder.mul(k, sak))
                right = [A.load(builder.add(at, integer(v * wide)), C.vector) for v in range(vectors)]
                right[0] = builder.select(valid, right[0], ir.Constant(C.vector, None))
                return _flat(_fine(builder, *pair, x, value, small) for pair, x in zip(_pairs(pairs), right, strict=True))

            pairs = loop(builder, K, _flat((C.load(at), E.load(at)) for at in places), step)
            for at, (value, error) in zip(places, _pairs(pairs), strict=True):
                C.store(value, at)
                E.store(error, at)
            return context.get_dummy_value()

        return signature, emit

    return strip


def lanewise(rows: int = 4, columns: int = 4, lanes: int | None = None) -> Callable[..., None]:
    """Build `reduce(K, a, ia, sai, sak, b, ib, sbj, sbk, c, ic, sci, s, si)`, a block of many eliminations side by side.

    Elements are vectors of `lanes` numbers, one of each problem. For 0 <= i < rows and
    0 <= j < columns the tile replaces c[i, j] = c[ic + i * sci + j * lanes + v] by

        (c[i, j] - sum_{k < K} a[ia + i * sai + k * sak + v] * b[ib + j * sbj + k * sbk + v]) * s[si + v].
    """

    @intrinsic
    def reduce(typingctx, K, a, ia, sai, sak, b, ib, sbj, sbk, c, ic, sci, s, si):  # type: ignore[no-untyped-def]
        wide = lanes or lanes_of(str(c.dtype))
        signature = types.void(types.intp, a, *[types.intp] * 3, b, *[types.intp] * 3, c, *[types.intp] * 2, s, types.intp)

        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            K, _, ia, sai, sak, _, ib, sbj, sbk, _, ic, sci, _, si = values
            A, B, C, S = (Memory(context, builder, signature.args[p], values[p], wide) for p in (1, 5, 9, 12))
            corners = [[builder.add(ic, strided(builder, sci, i, j * wide)) for j in range(columns)] for i in range(rows)]

            def step(k, sums):  # type: ignore[no-untyped-def]
                at = builder.add(ib, builder.mul(k, sbk))
                right = [B.load(builder.add(at, strided(builder, sbj, j, 0)), C.vector) for j in range(columns)]
                at = builder.add(ia, builder.mul(k, sak))
                left = [builder.fneg(A.load(builder.add(at, strided(builder, sai, i, 0)), C.vector)) for i in range(rows)]
                return [multiply_add(builder, left[t // columns], right[t % columns], sums[t]) for t in range(rows * columns)]

            sums = loop(builder, K, [C.load(corner) for row in corners for corner in row], step)
            scale = S.load(si, C.vector)
            for t, total in enumerate(sums):
                C.store(builder.fmul(total, scale), corners[t // columns][t % columns])
            return context.get_dummy_value()

        return signature, emit

    return reduce


def prefetch() -> Callable[..., None]:
    """Build `fetch(a, ia, count)`: start to load `count` elements of a from index ia on; any address is allowed."""

    @intrinsic
    def fetch(typingctx, a, ia, count):  # type: ignore[no-untyped-def]
        signature = types.void(a, types.intp, types.intp)

        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            _, ia, count = values
            A = Memory(context, builder, signature.args[0], values[0], 1)
            line = 64 // A.align
            byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")

            def step(k, _):  # type: ignore[no-untyped-def]
                at = builder.gep(A.data, [builder.add(ia, builder.mul(k, integer(line)))])
                builder.call(function, [builder.bitcast(at, byte), integer(0, 32), integer(3, 32), integer(1, 32)])
                return []

            loop(builder, builder.sdiv(builder.add(count, integer(line - 1)), integer(line)), [], step)
            return context.get_dummy_value()

        return signature, emit

    return fetch


class Memory:
    """An array argument, read and written as flat memory in scalars and vectors."""

    def __init__(self, context: Any, builder: ir.IRBuilder, kind: types.Array, value: ir.Value, lanes: int) -> None:
        self.builder = builder
        self.data = context.make_array(kind)(context, builder, value).data
        self.scalar = context.get_data_type(kind.dtype)
        self.vector = ir.VectorType(self.scalar, lanes)
        self.align = kind.dtype.bitwidth // 8

    def load(self, index: ir.Value, as_type: ir.Type | None = None) -> ir.Value:
        value = self.builder.load(self._pointer(index), align=self.align)
        return self._cast(value, as_type or self.vector)

    def element(self, index: ir.Value, as_type: ir.Type) -> ir.Value:
        return self._cast(self.builder.load(self.builder.gep(self.data, [index]), align=self.align), as_type)

    def integer(self, index: ir.Value) -> ir.Value:
        value = self.builder.load(self.builder.gep(self.data, [index]), align=self.align)
        return value if value.type == integer(0).type else self.builder.sext(value, integer(0).type)

    def broadcast(self, index: ir.Value, as_type: ir.VectorType) -> ir.Value:
        one = self.builder.insert_element(ir.Constant(as_type, ir.Undefined), self.element(index, as_type.element), integer(0, 32))
        return self.builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), as_type.count), None))

    def store(self, vector: ir.Value, index: ir.Value) -> None:
        self.builder.store(vector, self._pointer(index), align=self.align)

    def put(self, scalar: ir.Value, index: ir.Value) -> None:
        self.builder.store(scalar, self.builder.gep(self.data, [index]), align=self.align)

    def _pointer(self, index: ir.Value) -> ir.Value:
        return self.builder.bitcast(self.builder.gep(self.data, [index]), self.vector.as_pointer())

    def _cast(self, value: ir.Value, as_type: ir.Type) -> ir.Value:
        if value.type == as_type:
            return value
        return (self.builder.fptrunc if isinstance(self.scalar, ir.DoubleType) else self.builder.fpext)(value, as_type)


@intrinsic
def fma(typingctx, x, y, z):  # type: ignore[no-untyped-def]
    """Return x * y + z for float64 scalars, rounded once on every CPU; loops over it vectorise.

    With z = -(x * y) it gives the rounding error of a product, exactly.
    """
    signature = types.float64(types.float64, types.float64, types.float64)

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.DoubleType(), [ir.DoubleType()] * 3), "llvm.fma.f64")
        return builder.call(function, values)

    return signature, emit


def integer(value: int, bits: int = 64) -> ir.Constant:
    return ir.Constant(ir.IntType(bits), value)


def strided(builder: ir.IRBuilder, stride: ir.Value, times: int, plus: int) -> ir.Value:
    return builder.add(builder.mul(stride, integer(times)), integer(plus))


def multiply_add(builder: ir.IRBuilder, x: ir.Value, y: ir.Value, z: ir.Value, *, once: bool = False) -> ir.Value:
    """Return x * y + z, fused where the CPU has the instruction, or rounded only `once` at any price."""
    kind = x.type
    scalar = kind.element if isinstance(kind, ir.VectorType) else kind
    suffix = ("" if kind is scalar else f"v{kind.count}") + ("f64" if isinstance(scalar, ir.DoubleType) else "f32")
    name = f"llvm.{'fma' if once else 'fmuladd'}.{suffix}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
    return builder.call(function, [x, y, z])


def _fine(builder: ir.IRBuilder, total: ir.Value, error: ir.Value, x: ir.Value, y: ir.Value, small: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Add x * (y + small) to the pair total + error."""
    product = builder.fmul(x, y)
    lost = multiply_add(builder, x, small, multiply_add(builder, x, y, builder.fneg(product), once=True), once=True)
    total, rest = _two_sum(builder, total, product)
    return total, builder.fadd(error, builder.fadd(rest, lost))


def _two_sum(builder: ir.IRBuilder, x: ir.Value, y: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Return x + y rounded, and its rounding error."""
    total = builder.fadd(x, y)
    z = builder.fsub(total, x)
    return total, builder.fadd(builder.fsub(x, builder.fsub(total, z)), builder.fsub(y, z))


def _fine_tree(builder: ir.IRBuilder, total: ir.Value, error: ir.Value, lanes: int) -> tuple[ir.Value, ir.Value]:
    """Add the lanes of a pair in a tree."""
    while lanes > 1:
        lanes //= 2
        low, high = (ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(at, at + lanes))) for at in (0, lanes))
        (x, y), (e, f) = ([builder.shuffle_vector(part, part, half) for half in (low, high)] for part in (total, error))
        total, lost = _two_sum(builder, x, y)
        error = builder.fadd(builder.fadd(e, f), lost)
    return tuple(builder.extract_element(part, integer(0, 32)) for part in (total, error))


def _lanes_from(builder: ir.IRBuilder, first: ir.Value, lanes: int) -> ir.Value:
    """Give the mask of the lanes from `first` on."""
    one = builder.insert_element(ir.Constant(ir.VectorType(first.type, lanes), ir.Undefined), first, integer(0, 32))
    every = builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), lanes), None))
    return builder.icmp_signed(">=", ir.Constant(every.type, list(range(lanes))), every)


def _flat(pairs: Iterable[tuple[ir.Value, ir.Value]]) -> list[ir.Value]:
    return [part for pair in pairs for part in pair]


def _pairs(values: list[ir.Value]) -> list[tuple[ir.Value, ir.Value]]:
    return list(zip(values[::2], values[1::2], strict=True))


def _tree(builder: ir.IRBuilder, vector: ir.Value, lanes: int) -> ir.Value:
    """Add the lanes of a vector in a tree."""
    parts = [builder.extract_element(vector, integer(v, 32)) for v in range(lanes)]
    while len(parts) > 1:
        half = len(parts) // 2
        parts = [builder.fadd(parts[v], parts[v + half]) for v in range(half)]
    return parts[0]


def _halves(builder: ir.IRBuilder, vector: ir.Value, lanes: int) -> ir.Value:
    """Add the lanes of a vector, one half to the other, in registers."""
    while lanes > 1:
        lanes //= 2
        low, high = (ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(at, at + lanes))) for at in (0, lanes))
        vector = builder.fadd(*(builder.shuffle_vector(vector, vector, half) for half in (low, high)))
    return builder.extract_element(vector, integer(0, 32))


def loop(
    builder: ir.IRBuilder, stop: ir.Value, carried: list[ir.Value], step: Callable[..., list[ir.Value]], start: ir.Value | None = None
) -> list[ir.Value]:
    """Emit `for k in range(start, stop): carried = step(k, carried)` with the carried values in registers."""
    start = integer(0) if start is None else start
    before = builder.basic_block
    body, done = builder.append_basic_block("tile.body"), builder.append_basic_block("tile.done")
    builder.cbranch(builder.icmp_signed("<", start, stop), body, done)
    builder.position_at_end(body)
    k = builder.phi(start.type)
    inside = [builder.phi(value.type) for value in carried]
    after = step(k, inside)
    following = builder.add(k, integer(1))
    end = builder.basic_block
    builder.cbranch(builder.icmp_signed("<", following, stop), body, done)
    k.add_incoming(start, before)
    k.add_incoming(following, end)
    for phi, first, last in zip(inside, carried, after, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(last, end)
    builder.position_at_end(done)
    results = [builder.phi(value.type) for value in carried]
    for phi, first, last in zip(results, carried, after, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(last, end)
    return results
