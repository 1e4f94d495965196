"""The dispatcher: the array says which version of a kernel runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from lowrank_la import _arrays

_forced: ContextVar[str | None] = ContextVar("engine", default=None)


@dataclass(frozen=True, slots=True)
class Kernel:
    """One hot loop in up to three versions with the same arguments; the first argument is the array that decides."""

    reference: Callable[..., Any]
    cpu: Callable[..., Any] | None = None
    cuda: Callable[..., Any] | None = None

    def __call__(self, array: Any, *rest: Any, **named: Any) -> Any:
        engine = _forced.get() or _arrays.engine_of(array)
        return (getattr(self, engine) or self.reference)(array, *rest, **named)


@contextmanager
def use_engine(name: str) -> Iterator[None]:
    """Force one engine ("reference", "cpu" or "cuda") inside a `with` statement, for tests and measurements."""
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)
