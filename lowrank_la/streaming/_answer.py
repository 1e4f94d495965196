"""From the state of a stream to its answer."""

from __future__ import annotations

import math
import warnings

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la._result import ConvergenceWarning
from lowrank_la.factor._intake import Kind
from lowrank_la.factor._signs import signed
from lowrank_la.streaming import _certificate
from lowrank_la.streaming._any_order import AnyOrder
from lowrank_la.streaming._blocks import BlockPower
from lowrank_la.streaming._certificate import Known
from lowrank_la.streaming._result import Candidates, TopEigenvectorResult

WIDEST_ANGLE = 0.5  # sine, of an answer that counts as converged


def answer(function: str, state: BlockPower | AnyOrder, kind: Kind, wanted: int, n: int, method: str) -> TopEigenvectorResult:
    """Answer for the n rows that have come."""
    found = _from_blocks(state, kind, wanted, n) if isinstance(state, BlockPower) else _from_any_order(state, kind, wanted)
    return finished(function, state, kind, *found, n, method)


def second_answer(
    function: str, state: BlockPower | AnyOrder, kind: Kind, wanted: int, n: int, method: str, T: Array, Z: Array
) -> TopEigenvectorResult:
    """Answer when also T = A^H A Z is known."""
    V, ritz, known = _certificate.from_second_pass(T, Z, wanted, kind.like, state.energy, n)
    return finished(function, state, kind, leaving(V, kind), known, _next(ritz, wanted), n, method)


def finished(
    function: str, state: BlockPower | AnyOrder, kind: Kind, V: Array, known: Known, following: float, n: int, method: str
) -> TopEigenvectorResult:
    """Put an answer together; warn if nothing good is known about it."""
    converged = known.sin_angle <= WIDEST_ANGLE
    if not converged:
        what = "the leading eigenvector" if V.shape[1] == 1 else f"the {V.shape[1]} leading eigenvectors"
        text = f"{function}: the sine of the angle to {what} may be {known.sin_angle:.2g}"
        warnings.warn(text, ConvergenceWarning, stacklevel=4)
    is_blocks = isinstance(state, BlockPower)
    heavy = np.sort(state.heavy.index) if is_blocks else np.zeros(0, np.int64)
    candidates = None if is_blocks or state.oja is None else _candidates(state)
    bounds = known.values, known.lower, known.upper, following, known.sin_angle
    sizes = state.energy, heavy, n, state.space, method
    return TopEigenvectorResult(kind.door.leave(V), *bounds, *sizes, converged, candidates, known.certificate)


def leaving(V: Array, kind: Kind) -> Array:
    """Cast columns to the dtype of the rows, and turn them."""
    return signed(kind.xp.astype(V, kind.like.dtype))[0]


def _from_blocks(blocks: BlockPower, kind: Kind, wanted: int, n: int) -> tuple[Array, Known, float]:
    if blocks.gram is not None:
        blocks.settle()
        theta, Q = blocks.spectrum()
        V = leaving(Q[:, :wanted], kind)
        return V, _certificate.from_gram(blocks.gram, V, theta, blocks.energy, n), _next(theta, wanted)
    Q, theta = blocks.model()
    V, following = leaving(Q[:, :wanted], kind), _next(theta, wanted)
    light = n - len(blocks.heavy) - blocks.spent
    known = _certificate.from_held(V, blocks.heavy, blocks.held, light, theta[:wanted], blocks.energy, n)
    sine = _expected_sine(float(theta[wanted - 1]), following, blocks.d, n) if blocks.fitted else 1.0
    return V, known._replace(sin_angle=sine if wanted < blocks.d else 0.0), following


def _from_any_order(state: AnyOrder, kind: Kind, wanted: int) -> tuple[Array, Known, float]:
    V = leaving(state.leading(wanted) if state.oja is None else state.chosen(), kind)
    sketch = state.sketch.result()
    known = _certificate.from_sketch(V, sketch, None if state.oja is None else state.drawn(V))
    return V, known, _next(_arrays.to_numpy(sketch.s).astype(np.float64) ** 2, wanted)


def _candidates(state: AnyOrder) -> Candidates:
    assert state.oja is not None
    return Candidates(state.oja.rates, state.oja.growth, state.oja.learned(), state.candidates()[1][:-1])


def _next(values: np.ndarray, wanted: int) -> float:
    return float(max(values[wanted], 0.0)) if values.size > wanted else 0.0


def _expected_sine(last: float, following: float, d: int, n: int) -> float:
    """Estimate the angle between all rows and a third of them, by perturbation, as if all later eigenvalues were as large as the next."""
    if last <= following:
        return 1.0
    return min(1.0, math.sqrt(2 * d / n * last * following) / (last - following))
