"""Gradients for tensors of PyTorch: of values by the envelope theorem, of potentials and plans by implicit differentiation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from lowrank_la import _arrays
from lowrank_la._arrays import Array
from lowrank_la.solvers._block import conjugate_gradients
from lowrank_la.transport._problem import STORED
from lowrank_la.transport._result import TransportResult

RTOL, MOST = 1e-13, 5000  # of the conjugate gradients for implicit derivatives


def attach(
    name: str, solve: Callable[..., TransportResult], C: Any, a: Array | None, b: Array | None, cost: Any, rhos: tuple[float, float]
) -> TransportResult:
    """Solve with detached inputs, and hang value, potentials and plan on the inputs.

    Raises
    ------
    ValueError
        A weight is zero, which leaves its potential without a derivative; or clouds are too large to store costs that are not
        squared distances.
    """
    import torch

    result = solve(_arrays.detached(C), _arrays.detached(a), _arrays.detached(b))
    X = C[0] if isinstance(C, tuple) else C
    n, m = len(result.f), len(result.g)
    weights = [torch.full((k,), 1 / k, dtype=torch.float64) if w is None else w.double() for w, k in ((a, n), (b, m))]
    if min(float(w.detach().min()) for w in weights) <= 0:
        raise ValueError(f"{name}: a and b must be positive where gradients are wanted; got a zero")
    if isinstance(C, tuple) and n * m > STORED:
        if cost != "sqeuclidean":
            raise ValueError(f"{name}: cost must be 'sqeuclidean' for gradients of so many pairs; got {cost!r} and {n * m} pairs")
        return replace(result, value=_cloud()(C[0], C[1], *weights, result).to(X.dtype))
    costs = _torch_costs(C[0].double(), C[1].double(), cost) if isinstance(C, tuple) else C.double()
    if not all(math.isinf(rho) for rho in rhos):
        return replace(result, value=_unbalanced()(costs, *weights, result, rhos).to(X.dtype))
    f, g, value = _solution()(costs, *weights, result)
    first, second = weights
    shift = (first @ f - second @ g) / (first.sum() + second.sum())
    f, g = f - shift, g + shift
    return replace(
        result, f=f, g=g, value=value.to(X.dtype), _plan=TensorPlan(costs, first, second, f, g, result.reg, X.dtype, C, result._plan)
    )


def _torch_costs(X: Any, Y: Any, cost: Any) -> Any:
    """Costs that are differentiable, the root of a distance only where it is not zero."""
    if callable(cost):
        return cost(X, Y)
    if cost == "cosine":
        return 1 - (X / X.norm(dim=1, keepdim=True)) @ (Y / Y.norm(dim=1, keepdim=True)).T
    squares = ((X[:, None, :] - Y[None, :, :]) ** 2).sum(-1)
    if cost == "sqeuclidean":
        return squares
    zero = squares == 0
    return squares.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)


@dataclass(frozen=True)
class TensorPlan:
    """The plan as a differentiable function of the potentials; what has no gradient comes from the plain one."""

    C: Any
    a: Any
    b: Any
    f: Any
    g: Any
    eps: float
    dtype: Any
    given: Any
    plain: Any

    def dense(self, feasible: bool) -> Array:
        """Return the plan with its history."""
        if feasible:
            return self.plain.dense(True)
        return self._wide().to(self.dtype)

    def sparse(self, threshold: float, feasible: bool) -> Any:
        """Return the plan without history."""
        return self.plain.sparse(threshold, feasible)

    def apply(self, V: Array, adjoint: bool) -> Array:
        """Return P V or P^T V with its history."""
        P = self._wide()
        return ((P.T if adjoint else P) @ V.double()).to(self.dtype)

    def barycentric(self, Y: Array | None) -> Array:
        """Return the means of partners with their history."""
        if Y is None and not isinstance(self.given, tuple):
            return self.plain.barycentric(None)
        P = self._wide()
        return (P @ (self.given[1] if Y is None else Y).double() / P.sum(1, keepdim=True)).to(self.dtype)

    def _wide(self) -> Any:
        mass = self.a.sum()
        return self.a[:, None] * self.b / mass * ((self.f[:, None] + self.g - self.C) / self.eps).exp()


@cache
def _solution() -> Callable[..., Any]:
    """Define potentials and value of a balanced problem for PyTorch, once it is wanted."""
    import torch

    class Solution(torch.autograd.Function):
        """(C, a, b) -> (f, g, value) of a balanced problem."""

        @staticmethod
        def forward(ctx: Any, C: Any, a: Any, b: Any, result: TransportResult) -> Any:
            ctx.save_for_backward(C, a, b)
            ctx.result = result
            return result.f.clone(), result.g.clone(), torch.tensor(float(result.value), dtype=torch.float64)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            C, a, b = (x.detach() for x in ctx.saved_tensors)
            grad_f, grad_g, grad_value = grads
            result, mass = ctx.result, float(a.sum())
            f, g = result.f, result.g
            P = a[:, None] * b / mass * ((f[:, None] + g - C) / result.reg).exp()
            x, y = (torch.from_numpy(part) for part in _adjoint(P.numpy(), grad_f.numpy(), grad_g.numpy()))
            grad_C = P * (x[:, None] + y + grad_value)
            grad_a = grad_value * f - result.reg * (P @ y) / a
            grad_b = grad_value * g - result.reg * (P.T @ x) / b
            return grad_C, grad_a, grad_b, None

    return Solution.apply


@cache
def _unbalanced() -> Callable[..., Any]:
    """Define the value of an unbalanced problem."""
    import torch

    class Unbalanced(torch.autograd.Function):
        """(C, a, b) -> value."""

        @staticmethod
        def forward(ctx: Any, C: Any, a: Any, b: Any, result: TransportResult, rhos: tuple[float, float]) -> Any:
            ctx.save_for_backward(C, a, b)
            ctx.result, ctx.rhos = result, rhos
            return torch.tensor(float(result.value), dtype=torch.float64)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            C, a, b = (x.detach() for x in ctx.saved_tensors)
            result, eps = ctx.result, ctx.result.reg
            P = a[:, None] * b * ((result.f[:, None] + result.g - C) / eps).exp()
            grad_a, grad_b = (
                -rho * torch.expm1(-h / rho) + eps * (other.sum() - sums / w) if math.isfinite(rho) else h + eps * (other.sum() - sums / w)
                for rho, h, w, other, sums in zip(ctx.rhos, (result.f, result.g), (a, b), (b, a), (P.sum(1), P.sum(0)), strict=True)
            )
            return grads[0] * P, grads[0] * grad_a, grads[0] * grad_b, None, None

    return Unbalanced.apply


@cache
def _cloud() -> Callable[..., Any]:
    """Define the value for clouds whose costs are not stored."""
    import torch

    class Cloud(torch.autograd.Function):
        """(X, Y, a, b) -> value for squared distances, without storing them."""

        @staticmethod
        def forward(ctx: Any, X: Any, Y: Any, a: Any, b: Any, result: TransportResult) -> Any:
            ctx.save_for_backward(X, Y)
            ctx.result = result
            return torch.tensor(float(result.value), dtype=torch.float64)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            X, Y = (x.detach() for x in ctx.saved_tensors)
            result = ctx.result
            ones = torch.ones(len(Y), dtype=Y.dtype), torch.ones(len(X), dtype=X.dtype)
            rows, columns = result.apply(ones[0]), result.apply(ones[1], adjoint=True)
            grad_X = 2 * (rows[:, None] * X - result.apply(Y))
            grad_Y = 2 * (columns[:, None] * Y - result.apply(X, adjoint=True))
            return grads[0] * grad_X, grads[0] * grad_Y, grads[0] * result.f, grads[0] * result.g, None

    return Cloud.apply


def _adjoint(P: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solve diag(r) x + P y = u, P^T x + diag(c) y = v, with u and v of the same sum, for the solution with sum(r x) = 0 up to shifts."""
    if not (np.any(u) or np.any(v)):
        return np.zeros_like(u), np.zeros_like(v)
    r, c = P.sum(axis=1), P.sum(axis=0)
    rhs = v - P.T @ (u / r)
    rhs -= rhs.mean()
    diagonal = np.sum(P * (1 - P / r[:, None]), axis=0)[:, None]

    def apply(Y: np.ndarray) -> np.ndarray:
        return c[:, None] * Y - P.T @ ((P @ Y) / r[:, None])

    goals = np.array([RTOL * np.linalg.norm(rhs)])
    y = conjugate_gradients(apply, rhs[:, None], goals, precondition=lambda R: R / diagonal, max_iter=MOST).X[:, 0]
    return (u - P @ y) / r, y
