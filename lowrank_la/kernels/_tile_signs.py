"""Register tiles for products with matrices of signs: sums and differences, no multiplications. See `_tile`."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lowrank_la.kernels import _tile


def hadamard(levels: int, lanes: int | None = None) -> Callable[..., None]:
    """Build `mix(count, a, ia, sa, b, ib, sb)`, Walsh-Hadamard transforms of length 2**levels from a to b.

    For each of `count` vectors of columns, the last ones first, the intrinsic reads the
    2**levels rows that start at a[ia] and lie sa apart, and writes their sums and differences,
    without scaling, to rows of b, the upper ones first. a and b may be one. Where rows of b
    are closer than their vectors, what a vector writes beyond its row is overwritten by the
    next row, except after the last one.
    """

    @intrinsic
    def mix(typingctx, count, a, ia, sa, b, ib, sb):  # type: ignore[no-untyped-def]
        wide = lanes or _tile.lanes_of(str(a.dtype))
        signature = types.void(types.intp, a, *[types.intp] * 2, b, *[types.intp] * 2)

        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            count, _, ia, sa, _, ib, sb = values
            A, B = (_tile.Memory(context, builder, signature.args[p], values[p], wide) for p in (1, 4))
            last = builder.sub(count, _tile.integer(1))

            def step(k, _):  # type: ignore[no-untyped-def]
                at = builder.mul(builder.sub(last, k), _tile.integer(wide))
                x = [A.load(builder.add(builder.add(ia, at), _tile.strided(builder, sa, i, 0))) for i in range(1 << levels)]
                for bit in range(levels):
                    pairs = [i for i in range(len(x)) if not i >> bit & 1]
                    for i in pairs:
                        j = i | 1 << bit
                        x[i], x[j] = builder.fadd(x[i], x[j]), builder.fsub(x[i], x[j])
                for i, value in enumerate(x):
                    B.store(value, builder.add(builder.add(ib, at), _tile.strided(builder, sb, i, 0)))
                return []

            _tile.loop(builder, count, [], step)
            return context.get_dummy_value()

        return signature, emit

    return mix


def hadamard_lanes(distance: int, lanes: int | None = None) -> Callable[..., None]:
    """Build `mix(count, a, ia, b, ib)`, Walsh-Hadamard transforms inside each of `count` vectors from a[ia] on, to b[ib] on.

    The numbers that are combined lie `distance` apart, then twice that, up to half a vector.
    """

    @intrinsic
    def mix(typingctx, count, a, ia, b, ib):  # type: ignore[no-untyped-def]
        wide = lanes or _tile.lanes_of(str(a.dtype))
        signature = types.void(types.intp, a, types.intp, b, types.intp)

        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            count, _, ia, _, ib = values
            A, B = (_tile.Memory(context, builder, signature.args[p], values[p], wide) for p in (1, 3))

            def step(k, _):  # type: ignore[no-untyped-def]
                at = builder.mul(k, _tile.integer(wide))
                x = A.load(builder.add(ia, at))
                apart = distance
                while apart < wide:
                    other = ir.Constant(ir.VectorType(ir.IntType(32), wide), [v ^ apart for v in range(wide)])
                    signs = ir.Constant(A.vector, [A.scalar(-1.0 if v & apart else 1.0) for v in range(wide)])
                    x = _tile.multiply_add(builder, x, signs, builder.shuffle_vector(x, x, other))
                    apart *= 2
                B.store(x, builder.add(ib, at))
                return []

            _tile.loop(builder, count, [], step)
            return context.get_dummy_value()

        return signature, emit

    return mix


def sign_sums(vectors: int = _tile.VECTORS, lanes: int | None = None) -> Callable[..., None]:
    """Build `fill(count, b, ib, sb, t, it, st)`, tables of the 16 signed sums of 4 rows of b.

    For each of `count` groups g of rows, and for 0 <= m < 16 and 0 <= v < vectors * lanes,

        t[it + (16 * g + m) * st + v] = sum_{q < 4} (-1)**(bit q of m) * b[ib + (4 * g + q) * sb + v].
    """

    @intrinsic
    def fill(typingctx, count, b, ib, sb, t, it, st):  # type: ignore[no-untyped-def]
        wide = lanes or _tile.lanes_of(str(t.dtype))
        signature = types.void(types.intp, b, *[types.intp] * 2, t, *[types.intp] * 2)

        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            count, _, ib, sb, _, it, st = values
            B, T = (_tile.Memory(context, builder, signature.args[p], values[p], wide) for p in (1, 4))

            def step(g, _):  # type: ignore[no-untyped-def]
                row = builder.add(ib, builder.mul(builder.mul(g, _tile.integer(4)), sb))
                place = builder.add(it, builder.mul(builder.mul(g, _tile.integer(16)), st))
                for v in range(vectors):
                    first, *others = (B.load(builder.add(row, _tile.strided(builder, sb, q, v * wide)), T.vector) for q in range(4))
                    sums = [first, builder.fneg(first)]
                    for x in others:
                        sums = [builder.fadd(s, x) for s in sums] + [builder.fsub(s, x) for s in sums]
                    for m, total in enumerate(sums):
                        T.store(total, builder.add(place, _tile.strided(builder, st, m, v * wide)))
                return []

            _tile.loop(builder, count, [], step)
            return context.get_dummy_value()

        return signature, emit

    return fill


def lookup(vectors: int = _tile.VECTORS, stride: int = _tile.VECTORS, lanes: int | None = None) -> Callable[..., None]:
    """Build `add(count, codes, io, t, it, c, ic, sc)`, sums of 8 table rows for each of many rows of c.

    For 0 <= r < count, the 32-bit integer codes[io + r] has 8 digits m_g of 4 bits, the lowest
    first. The intrinsic adds to c[ic + r * sc + v], for 0 <= v < vectors * lanes, the sum over
    g < 8 of t[it + (16 * g + m_g) * st + v], where st is `stride` vectors. With tables of
    `sign_sums`, that is a product of a 32-column sign matrix, one bit for each sign, at a quarter
    of the operations.
    """

    @intrinsic
    def add(typingctx, count, codes, io, t, it, c, ic, sc):  # type: ignore[no-untyped-def]
        wide = lanes or _tile.lanes_of(str(c.dtype))
        signature = types.void(types.intp, codes, types.intp, t, types.intp, c, *[types.intp] * 2)

        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            count, _, io, _, it, _, ic, sc = values
            codes, T, C = (_tile.Memory(context, builder, signature.args[p], values[p], wide) for p in (1, 3, 5))

            def step(r, _):  # type: ignore[no-untyped-def]
                code = builder.zext(builder.load(builder.gep(codes.data, [builder.add(io, r)]), align=codes.align), it.type)
                corner = builder.add(ic, builder.mul(r, sc))
                sums = [C.load(builder.add(corner, _tile.integer(v * wide))) for v in range(vectors)]
                for g in range(8):
                    digit = builder.and_(builder.lshr(code, _tile.integer(4 * g)), _tile.integer(15))
                    row = builder.add(it, builder.mul(builder.add(digit, _tile.integer(16 * g)), _tile.integer(stride * wide)))
                    sums = [builder.fadd(s, T.load(builder.add(row, _tile.integer(v * wide)))) for v, s in enumerate(sums)]
                for v, total in enumerate(sums):
                    C.store(total, builder.add(corner, _tile.integer(v * wide)))
                return []

            _tile.loop(builder, count, [], step)
            return context.get_dummy_value()

        return signature, emit

    return add
