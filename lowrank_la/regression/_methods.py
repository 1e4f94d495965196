"""The algorithms. Each takes a scene and returns its best iterate and the number of steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.regression import _bounds
from lowrank_la.regression._bounds import Gram, Iterate, Scene, Step
from lowrank_la.regression._plan import DENSE_KINDS, Plan

CORRECTIONS = 3  # of cholqr; more never helped where three did not
OUTER = 4  # refinements of spir and fossils
INNER = 100  # iterations in each


@dataclass(frozen=True)
class Outcome:
    """What a method found: X, squared residual norms, backward error, entrywise bounds and what they rest on."""

    X: Array
    r2: Array
    backward_error: float
    bound: Array
    level: str
    method: str
    n_iter: int


def solve(scene: Scene, plan: Plan, tol: float, certificate: bool, Y: Array, Z: Array) -> Outcome:
    """Run the method of the plan, and bound its error."""
    if scene.basis.rank == 0:
        X = scene.basis.start
        return Outcome(X, scene.norms_b**2, 0.0, _unknown(X), "none", plan.method, 0)
    if plan.method == "solve":
        return _sketch_and_solve(scene, plan, certificate, Y, Z)
    if plan.method in {"cholqr", "direct"}:
        return _by_gram(scene, plan, tol, certificate)
    start, ratio = scene.basis.start, scene.basis.rank / plan.height
    if plan.method == "ihs":
        at, steps = iterative_sketching(scene, start, ratio, tol)
    else:
        at, steps = refine(scene, start, conjugate_gradients if plan.method == "spir" else heavy_ball(ratio), tol)
    return _outcome(scene, at, plan.method, steps, _embedding_bound(scene, at, plan) if certificate else None, "L1")


def _sketch_and_solve(scene: Scene, plan: Plan, certificate: bool, Y: Array, Z: Array) -> Outcome:
    xp = _arrays.namespace(Y)
    X = scene.basis.shortest(scene.basis.start)
    freedom = max(1, Y.shape[0] - scene.basis.rank)
    r2 = xp.sum(xp.abs(Z - Y @ X) ** 2, axis=0) * (Y.shape[0] / freedom)
    statistical = plan.kind in DENSE_KINDS and scene.problem.ridge == 0 and not _is_complex(xp, Y) and scene.full_rank
    if certificate and not statistical and not plan.once:
        rough = replace(scene, fine=False)  # x is far off: rounding matters only if b lies (nearly) in the range of A
        at = rough.look(X)
        scene = rough if _bounds.rounding_is_small(rough, at) else scene
        at = at if scene is rough else scene.look(X)
        return _outcome(scene, at, "solve", 0, _embedding_bound(scene, at, plan), "L1")
    statistical = statistical and certificate
    bound = _bounds.statistical(scene, X, Y, Z, plan.delta) if statistical else _unknown(X)
    return Outcome(X, r2, math.inf, bound, "L0" if statistical else "none", "solve", 0)


def _by_gram(scene: Scene, plan: Plan, tol: float, certificate: bool) -> Outcome:
    """Solve by the Gram matrix of the whitened columns, which also certifies; `direct` starts from a QR of A itself."""
    xp = _arrays.namespace(scene.norms_b)
    gram, C = _bounds.gram(scene, plan.fast)
    if gram is None:
        at, steps = refine(scene, scene.basis.start, conjugate_gradients, tol)
        return _outcome(scene, at, "spir", steps, None, "none")
    X = scene.basis.start if plan.method == "direct" else scene.basis.P @ gram.solve(C)
    at, last, steps = correct(scene, gram, X, tol, rough=plan.fast)
    safe, certified = bool(xp.all(last.error <= 2 * tol)), certificate and scene.full_rank
    if at.worst > tol and not safe:
        better, more = refine(scene, at.X, conjugate_gradients, tol)
        at = scene.look(at.better(better).X, gram.R)
        return _outcome(scene, at, "spir", steps + more, _bounds.step(scene, gram, at).here if certified else None, "L2")
    if certified and safe:
        return Outcome(last.X, at.r2, math.sqrt(2) * float(xp.max(last.error)), last.there, "L2", plan.method, steps + 1)
    return _outcome(scene, at, plan.method, steps, last.here if certified else None, "L2")


def _embedding_bound(scene: Scene, at: Iterate, plan: Plan) -> Array | None:
    return _bounds.embedding(scene, at, plan.height, plan.delta) if scene.full_rank else None


def _outcome(scene: Scene, at: Iterate, method: str, steps: int, bound: Array | None, level: str) -> Outcome:
    if not scene.full_rank:
        at = scene.look(scene.basis.shortest(at.X))
    known = bound is not None
    return Outcome(at.X, at.r2, math.sqrt(2) * at.worst, bound if known else _unknown(at.X), level if known else "none", method, steps)


def _unknown(X: Array) -> Array:
    xp = _arrays.namespace(X)
    return xp.full(X.shape, math.inf, dtype=xp.float64, device=X.device)


def correct(scene: Scene, gram: Gram, X: Array, tol: float, rough: bool) -> tuple[Iterate, Step, int]:
    """Correct X by the semi-normal equations as long as that lowers its backward error.

    The first look may be a rough one, for an X that is far off. Returns the best iterate,
    the step that leads on from it, and the number of corrections.
    """
    xp = _arrays.namespace(X)
    first = replace(scene, fine=False) if rough else scene
    at = first.look(X, gram.R)
    step = _bounds.step(first, gram, at)
    for corrections in range(CORRECTIONS):
        if at.worst <= tol or bool(xp.all(step.error <= 2 * tol)):
            return at, step, corrections
        new = scene.look(step.X, gram.R)
        if not bool(xp.any(new.error < at.error)):
            return at, step, corrections
        at, rough = (new if rough else at.better(new)), False  # a rough gradient must not meet the bounds of a fine one
        step = _bounds.step(scene, gram, at)
    return at, step, CORRECTIONS


def refine(scene: Scene, X: Array, inner: Callable[..., tuple[Array, int]], tol: float) -> tuple[Iterate, int]:
    """Improve X by solving for its error in whitened coordinates, again from a fresh residual until it is backward stable.

    The first solve goes far, the later ones only mend what rounding spoilt.
    """
    xp = _arrays.namespace(X)
    P, Ph = scene.basis.P, _arrays.adjoint_of(_arrays.namespace(X), scene.basis.P)

    def normal(V: Array) -> Array:
        return Ph @ scene.problem.product(P @ V)

    at, total = scene.look(X), 0
    for outer in range(OUTER):
        if at.worst <= tol:
            break
        y, steps = inner(normal, scene.slope(at.g), 1e-9 if outer == 0 else 1e-3)
        total += steps
        new = scene.look(at.X + P @ y)
        if not bool(xp.any(new.error < at.error)):
            break
        at = at.better(new)
    return at, total


def conjugate_gradients(normal: Callable[[Array], Array], C: Array, tol: float) -> tuple[Array, int]:
    """Solve M Y = C for M close to the identity, each column on its own."""
    xp = _arrays.namespace(C)
    Y, R = xp.zeros_like(C), C
    D, rho = R, xp.sum(xp.abs(R) ** 2, axis=0)
    target = tol**2 * rho
    for step in range(INNER):
        if bool(xp.all(rho <= target)):
            return Y, step
        MD = normal(D)
        curvature = _real(xp, xp.sum(xp.conj(D) * MD if _is_complex(xp, D) else D * MD, axis=0))
        length = xp.where(curvature > 0, rho / xp.where(curvature > 0, curvature, xp.ones_like(curvature)), xp.zeros_like(rho))
        Y, R = Y + length * D, R - length * MD
        previous, rho = rho, xp.sum(xp.abs(R) ** 2, axis=0)
        D = R + (rho / xp.where(previous > 0, previous, xp.ones_like(previous))) * D
    return Y, INNER


def heavy_ball(ratio: float) -> Callable[..., tuple[Array, int]]:
    """Return Polyak's iteration for M Y = C with the steps that suit a sketch of d / m = ratio."""

    def solve(normal: Callable[[Array], Array], C: Array, tol: float) -> tuple[Array, int]:
        xp = _arrays.namespace(C)
        size = xp.linalg.vector_norm(C, axis=0)
        Y, previous = C, xp.zeros_like(C)
        for step in range(INNER):
            R = C - normal(Y)
            if bool(xp.all(xp.linalg.vector_norm(R, axis=0) <= tol * size)):
                return Y, step + 1
            Y, previous = Y + (1 - ratio) ** 2 * R + ratio * (Y - previous), Y
        return Y, INNER

    return solve


def iterative_sketching(scene: Scene, X: Array, ratio: float, tol: float) -> tuple[Iterate, int]:
    """Descend with momentum, each time from a residual computed afresh, until the steps are at rounding level."""
    xp = _arrays.namespace(X)
    norm, condition = _norm_and_condition(scene)
    g, r2 = scene.problem.gradient(X, fine=False)
    momentum = xp.zeros_like(scene.slope(g))
    steps = 0
    while True:
        steps += 1
        momentum = (1 - ratio) ** 2 * scene.slope(g) + ratio * momentum
        X = X + scene.basis.P @ momentum
        g, r2 = scene.problem.gradient(X, fine=False)
        x = xp.linalg.vector_norm(scene.basis.kept(X) / scene.basis.kept(scene.basis.scales)[:, None], axis=0)
        enough = tol * (norm * x + 0.04 * condition * xp.sqrt(r2))
        if steps == INNER or bool(xp.all(xp.linalg.vector_norm(momentum, axis=0) <= enough)):
            return scene.look(X), steps


def _norm_and_condition(scene: Scene) -> tuple[float, float]:
    s = _arrays.to_numpy(_arrays.namespace(scene.basis.R).linalg.svdvals(scene.basis.R))
    return float(s[0]), float(s[0] / s[-1]) if s[-1] > 0 else math.inf


def _is_complex(xp, x: Array) -> bool:
    return xp.isdtype(x.dtype, "complex floating")


def _real(xp, x: Array) -> Array:
    return xp.real(x) if _is_complex(xp, x) else x
