"""Loops over rows of lanes: every lane is a point, a row of lanes fills a few vector registers."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lowrank_la.kernels import _tile

STEPS = 4  # rows of a recurrence in flight, so that no sum waits for the one before


def chebyshev(vectors: int = _tile.VECTORS) -> Callable[..., None]:
    """Build `fill(K, x, ix, t, it)`, values of Chebyshev polynomials.

    Row j of t, at it + j * width for 0 <= j < 4 K and width = vectors * lanes, becomes T_j(x[ix + v]) in lane v: four recurrences
    T_{j+4} = 2 T_4 T_j - T_{j-4} side by side.
    """

    @intrinsic
    def fill(typingctx, K, x, ix, t, it):  # type: ignore[no-untyped-def]
        wide = _tile.lanes_of(str(t.dtype))
        signature = types.void(types.intp, x, types.intp, t, types.intp)

        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            K, _, ix, _, it = values
            X, T = (_tile.Memory(context, builder, signature.args[p], values[p], wide) for p in (1, 3))
            minus = ir.Constant(T.vector, [-1.0] * wide)
            starts, twice = [], []
            for v in range(vectors):
                x1 = X.load(builder.add(ix, _tile.integer(v * wide)), T.vector)
                x2 = _tile.multiply_add(builder, builder.fadd(x1, x1), x1, minus)
                x3 = _tile.multiply_add(builder, builder.fadd(x1, x1), x2, builder.fneg(x1))
                x4 = _tile.multiply_add(builder, builder.fadd(x2, x2), x2, minus)
                starts += [x4, x3, x2, x1, builder.fneg(minus), x1, x2, x3]
                twice.append(builder.fadd(x4, x4))

            def step(k, rows):  # type: ignore[no-untyped-def]
                after = []
                for v in range(vectors):
                    before, now = rows[2 * STEPS * v :][:STEPS], rows[2 * STEPS * v + STEPS :][:STEPS]
                    for s, row in enumerate(now):
                        j = builder.add(builder.mul(k, _tile.integer(STEPS)), _tile.integer(s))
                        T.store(row, builder.add(it, _tile.strided(builder, j, vectors * wide, v * wide)))
                    after += now
                    after += [_tile.multiply_add(builder, twice[v], row, builder.fneg(old)) for row, old in zip(now, before, strict=True)]
                return after

            _tile.loop(builder, K, starts, step)
            return context.get_dummy_value()

        return signature, emit

    return fill


def dots(vectors: int = _tile.VECTORS) -> Callable[..., None]:
    """Build `sums(K, a, ia, b, ib, c, ic)`, lane by lane c = sum_{k < K} a_k b_k over rows of two tables, in order."""

    @intrinsic
    def sums(typingctx, K, a, ia, b, ib, c, ic):  # type: ignore[no-untyped-def]
        wide = _tile.lanes_of(str(c.dtype))
        signature = types.void(types.intp, a, types.intp, b, types.intp, c, types.intp)

        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            K, _, ia, _, ib, _, ic = values
            A, B, C = (_tile.Memory(context, builder, signature.args[p], values[p], wide) for p in (1, 3, 5))

            def step(k, totals):  # type: ignore[no-untyped-def]
                rows = [_tile.strided(builder, k, vectors * wide, v * wide) for v in range(vectors)]
                pairs = [(A.load(builder.add(ia, row)), B.load(builder.add(ib, row))) for row in rows]
                return [_tile.multiply_add(builder, x, y, total) for (x, y), total in zip(pairs, totals, strict=True)]

            totals = _tile.loop(builder, K, [ir.Constant(C.vector, None)] * vectors, step)
            for v, total in enumerate(totals):
                C.store(total, builder.add(ic, _tile.integer(v * wide)))
            return context.get_dummy_value()

        return signature, emit

    return sums
