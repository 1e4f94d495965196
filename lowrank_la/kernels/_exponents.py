"""Rows of exp(f + g_j - c_j) in vector registers: what the kernels of entropic transport share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lowrank_la.kernels import _tile
from lowrank_la.kernels._profiles import exp2
from lowrank_la.kernels._vector import Vector

LANES = _tile.lanes_of(np.float64)
MOST = {4: 120.0, 8: 1000.0}  # exponents are cut off here, which keeps sums finite


def exponentials() -> Callable[..., float]:
    """Build `total = put(count, c, ic, g, ig, f, scale, p, ip)`, a row of powers of two and its sum.

    For 0 <= j < count, a multiple of LANES, the intrinsic stores 2^(f + g[ig + j] - scale c[ic + j]) in p[ip + j]; an infinite
    c gives zero. Arithmetic is in the dtype of g.
    """

    @intrinsic
    def put(typingctx, count, c, ic, g, ig, f, scale, p, ip):  # type: ignore[no-untyped-def]
        lanes = _tile.lanes_of(str(g.dtype))
        number = g.dtype
        signature = number(types.intp, c, types.intp, g, types.intp, number, number, p, types.intp)

        def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
            count, _, ic, _, ig, f, scale, _, ip = values
            C, G, P = (_tile.Memory(context, builder, signature.args[k], values[k], lanes) for k in (1, 3, 7))
            most = MOST[G.align]
            own, slope = (_splat(builder, x, G.vector) for x in (f, builder.fneg(scale)))

            def step(block, sums):  # type: ignore[no-untyped-def]
                j = builder.mul(block, _tile.integer(lanes))
                cost = Vector(builder, C.load(builder.add(ic, j), G.vector))
                t = cost.times_plus(slope, Vector(builder, G.load(builder.add(ig, j))) + own)
                value = exp2((t * -1.0).where_above(-most, -most) * -1.0).value
                P.store(value, builder.add(ip, j))
                return [builder.fadd(sums[0], value)]

            sums = _tile.loop(builder, builder.sdiv(count, _tile.integer(lanes)), [ir.Constant(G.vector, None)], step)
            return _tile._halves(builder, sums[0], lanes)

        return signature, emit

    return put


def _splat(builder: ir.IRBuilder, scalar: ir.Value, kind: ir.VectorType) -> Vector:
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, _tile.integer(0, 32))
    return Vector(builder, builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None)))
