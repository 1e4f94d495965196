"""Batches of transport problems: one after the other, with one result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lowrank_la import _arrays, _checks
from lowrank_la._arrays import Array
from lowrank_la._result import Certificate
from lowrank_la.transport._result import TransportResult

NUMBERS = ("value", "value_gap", "transport_cost", "lower_bound", "upper_bound", "row_error", "column_error")
COUNTS = ("n_iter", "n_sweeps", "n_newton", "n_cg")


def is_batch(C: Any) -> bool:
    """Say whether costs or clouds have a batch axis."""
    return getattr(C[0] if isinstance(C, tuple) and C else C, "ndim", 0) == 3


def solve(
    name: str, one: Callable[..., TransportResult], C: Any, a: Array | None, b: Array | None, reg: float | None, init: Any, options: Any
) -> TransportResult:
    """Solve the problems of a batch."""
    first = C[0] if isinstance(C, tuple) else C
    count = _checks.not_empty(name, "C", first).shape[0]
    if isinstance(C, tuple):
        for which, x in zip(("X", "Y"), C, strict=False):
            _checks.rows_like(name, which, _checks.ndim(name, which, x, 3), count, "the batch")
    results = []
    for k in range(count):
        costs = tuple(x[k, ...] for x in C) if isinstance(C, tuple) else C[k, ...]
        start = None if init is None else tuple(x[k, ...] for x in init)
        results.append(one(costs, _own(name, "a", a, k, count), _own(name, "b", b, k, count), reg, init=start, **options))
    return _together(results)


def _own(name: str, which: str, w: Array | None, k: int, count: int) -> Array | None:
    """Return the weights of one problem."""
    if w is None or w.ndim == 1:
        return w
    return _checks.rows_like(name, which, _checks.ndim(name, which, w, (1, 2)), count, "the batch")[k, ...]


def _together(results: list[TransportResult]) -> TransportResult:
    """Stack the answers; counts and the certificate are those of the worst problem."""
    xp = _arrays.namespace(results[0].f)
    like = results[0].f
    numbers = {name: xp.asarray([getattr(r, name) for r in results], dtype=xp.float64, device=like.device) for name in NUMBERS}
    worst = max((r.certificate for r in results), key=lambda certificate: certificate.bound)
    return TransportResult(
        f=xp.stack([r.f for r in results]),
        g=xp.stack([r.g for r in results]),
        **numbers,
        reg=max(r.reg for r in results),
        **{name: max(getattr(r, name) for r in results) for name in COUNTS},
        converged=all(r.converged for r in results),
        history=tuple(step for r in results for step in r.history),
        certificate=Certificate(f"of every problem: {worst.claim}", worst.bound, worst.confidence, worst.method),
        _plan=Plans([r._plan for r in results]),
    )


@dataclass(frozen=True)
class Plans:
    """The plans of a batch."""

    plans: list[Any]

    def dense(self, feasible: bool) -> Array:
        """Stack the plans."""
        return self._stack(plan.dense(feasible) for plan in self.plans)

    def sparse(self, threshold: float, feasible: bool) -> list[Any]:
        """Return a list of sparse plans."""
        return [plan.sparse(threshold, feasible) for plan in self.plans]

    def apply(self, V: Array, adjoint: bool) -> Array:
        """Apply each plan to its own vectors."""
        return self._stack(plan.apply(V[k, ...], adjoint) for k, plan in enumerate(self.plans))

    def barycentric(self, Y: Array | None) -> Array:
        """Stack the means of partners."""
        return self._stack(plan.barycentric(None if Y is None else Y[k, ...]) for k, plan in enumerate(self.plans))

    def _stack(self, parts: Any) -> Array:
        parts = list(parts)
        return _arrays.namespace(parts[0]).stack(parts)
