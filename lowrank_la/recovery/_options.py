"""The options of `recover`, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lowrank_la import _checks


@dataclass(frozen=True)
class Options:
    """How to recover: the arguments of the public function, with `method` and the scale of a spectral start decided."""

    loss: str
    method: str
    scale: float | None
    init: str
    rebalance: bool
    debias: bool
    step: float | None
    max_iter: int
    tol: float

    @property
    def robust(self) -> bool:
        return self.loss != "l2"


def read_options(
    loss: Any, symmetric: Any, method: Any, init: Any, scale: Any, rebalance: Any, debias: Any, step: Any, max_iter: Any, tol: Any
) -> Options:
    _checks.choice("recover", "loss", loss, ("l1", "l2", "huber"))
    _checks.choice("recover", "method", method, ("auto", "subgradient", "gd", "scaled"))
    _checks.choice("recover", "init", init, ("small", "spectral"))
    _checks.choice("recover", "rebalance", rebalance, ("auto", True, False))
    for name, flag in (("symmetric", symmetric), ("debias", debias)):
        _checks.choice("recover", name, flag, (True, False))
    if method != "auto" and (method == "subgradient") == (loss == "l2"):
        raise ValueError(f"recover: method must be 'subgradient' for loss 'l1' and 'huber', another for 'l2'; got {method!r} for {loss!r}")
    if rebalance is True and (symmetric or loss != "l2" or method == "scaled"):
        raise ValueError("recover: rebalance must be 'auto' or False but for method 'gd' with loss 'l2' and two factors; got True")
    if scale is not None:
        scale = _checks.real("recover", "init_scale", scale, 0.0, open=True)
    if step is not None:
        step = _checks.real("recover", "step", step, 0.0, open=True)
    if method == "auto":
        method = "subgradient" if loss != "l2" else "scaled" if symmetric else "gd"
    max_iter = _checks.integer("recover", "max_iter", max_iter, 1)
    tol = _checks.real("recover", "tol", tol, 0.0, open=True)
    return Options(loss, method, 1.0 if init == "spectral" else scale, init, rebalance is not False, debias, step, max_iter, tol)
