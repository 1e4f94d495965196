"""Newton's method for 1 < p < inf (and a good start for p = 1): a smoothed loss, whose smoothing fades as the dual gap closes.

At residuals r the gradient of the smoothed loss is nearly a dual point y; linearised at the end of the step it meets
A^H y = 0 exactly. Its gap is known after every step, at the cost of a few vectors, and says when to stop.
"""

from __future__ import annotations

from dataclasses import dataclass

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.regression._lp_problem import LpProblem, U
from lowrank_la.sampling._loss import Loss, conjugate, loss, norms, value

FADE, SLOW_FADE = 0.1, 0.5  # of the smoothing after a full step that changed little, and after another full step
NEAR = 0.3  # smoothing at a good start, over that at any other
SETTLED = 1e-2  # relative decrease of the loss, predicted, below which a full step changes little
STILL = 1e-10  # decrease that rounding may hide from the search for a step length
ARMIJO, HALVINGS = 1e-4, 30
FLOOR = 1e-15  # shift of the Hessian over its trace


@dataclass(frozen=True)
class Point:
    """An approximate solution x, a dual point y (n,) of D (b - A x), and the steps taken."""

    x: Array
    y: Array
    steps: int


@dataclass(frozen=True)
class Move:
    """A step z in good coordinates, the change of the residual it makes, the dual point at its end, and -slope of the loss."""

    z: Array
    change: Array
    y: Array
    slope: float


def newton(problem: LpProblem, x: Array, p: float, tol: float, max_iter: int, *, near: bool = False) -> Point:
    """Step until the gap of some dual point is at most tol, the residual is at rounding level, or nothing improves.

    Smoothing starts weaker for an x that is `near` the minimum.
    """
    xp = _arrays.namespace(problem.b)
    r = problem.residual(x)
    noise = 8 * U * float(xp.linalg.vector_norm(problem.scaled(problem.b)))
    best, y_best = float("inf"), r
    delta = (NEAR if near else 1.0) * (1.0 if p < 2 else 1e-3) * _middle(r)
    step = 0
    for step in range(max_iter + 1):
        if float(xp.linalg.vector_norm(r)) <= noise:
            return Point(x, y_best, step)
        unit = _middle(r) if p < 2 else float(xp.max(xp.abs(r)))
        at = loss(r / unit, p, delta / unit)
        move = _move(problem, at)
        now = gap(r, move.y, p)
        best, y_best = (now, move.y) if now < best else (best, y_best)
        if best <= tol or step == max_iter:
            break
        t = _length(r / unit, at, move, p, delta / unit)
        if t == 0 and delta <= 1e-14 * unit:
            break
        x, r = _advance(problem, x, t * unit * move.z)
        decrease = p * move.slope / float(at.value)
        settled = decrease <= STILL or (decrease <= SETTLED and t in {0, 1})
        delta = delta * (FADE if settled else SLOW_FADE if t == 1 else 1.0)
    return Point(x, y_best, step)


def _advance(problem: LpProblem, x: Array, z: Array) -> tuple[Array, Array]:
    x = x + problem.basis.P @ z
    return x, problem.residual(x)


def _middle(r: Array) -> float:
    """Return a size that neither outliers nor interpolated rows decide: the square of the mean root."""
    xp = _arrays.namespace(r)
    largest = float(xp.max(xp.abs(r)))
    return largest * float(xp.mean(xp.sqrt(xp.abs(r) / largest))) ** 2 if largest > 0 else 1.0


def gap(r: Array, y: Array, p: float) -> float:
    """1 - lower bound / ||r||_p if A^H y = 0."""
    xp = _arrays.namespace(r, y)
    size = float(norms(y, conjugate(p))) * float(norms(r, p))
    return 1 - float(xp.real(xp.sum(xp.conj(y) * r if xp.isdtype(y.dtype, "complex floating") else y * r))) / size if size > 0 else 1.0


def _move(problem: LpProblem, at: Loss) -> Move:
    """Newton's step; a second solve removes from the dual point what rounding has left of A^H y."""
    solve = _solver(problem.hessian(at), problem.rank)
    g = problem.gradient(at.y)
    z = solve(g)
    change = problem.change(z)
    y = at.y - at.curve(change)
    y = y - at.curve(problem.change(solve(problem.gradient(y))))
    xp = _arrays.namespace(g)
    slope = xp.sum(xp.conj(g) * z) if xp.isdtype(g.dtype, "complex floating") else xp.sum(g * z)
    return Move(z, change, y, float(xp.real(slope)))


def _solver(G: Array, rank: int):  # type: ignore[no-untyped-def]
    """Return the function that solves with the Hessian G, which is twice as large as its unknowns if these are complex."""
    xp = _arrays.namespace(G)
    shift = FLOOR * float(xp.sum(xp.linalg.diagonal(G)))
    C = None
    while C is None:
        C = _factor(G, shift)
        shift *= 100

    def solve(g: Array) -> Array:
        both = xp.concat([xp.real(g), xp.imag(g)]) if G.shape[0] > rank else g
        s = _arrays.solve_triangular(C, _arrays.solve_triangular(C, both[:, None], adjoint=True))[:, 0]
        return s[:rank] + 1j * s[rank:] if G.shape[0] > rank else s

    return solve


def _factor(G: Array, shift: float) -> Array | None:
    xp = _arrays.namespace(G)
    shifted = G + shift * xp.eye(G.shape[0], dtype=G.dtype, device=G.device)
    try:
        C = xp.matrix_transpose(xp.linalg.cholesky(shifted))
    except ValueError:  # LinAlgError of NumPy is one
        return None
    return C if bool(xp.all(xp.isfinite(C))) else None


def _length(r: Array, at: Loss, move: Move, p: float, delta: float) -> float:
    """Halve the step from 1 until the loss falls enough; 0 if rounding hides the fall."""
    t, now = 1.0, float(at.value)
    for _ in range(HALVINGS):
        if float(value(r - t * move.change, p, delta)) <= now - ARMIJO * t * p * move.slope:
            return t
        t /= 2
    return 0.0
