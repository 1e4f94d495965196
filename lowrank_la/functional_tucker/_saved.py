"""Models in .npz files of plain arrays."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Any

import numpy as np

from lowrank_la.factor._intake import reading
from lowrank_la.functional_tucker._calibration import Calibration
from lowrank_la.functional_tucker._core import Core
from lowrank_la.functional_tucker._data import Axis, Scale
from lowrank_la.functional_tucker._fit import Fitted
from lowrank_la.functional_tucker._kernels import Prior
from lowrank_la.functional_tucker._options import NAME, Options
from lowrank_la.functional_tucker._state_space import Smoothed
from lowrank_la.functional_tucker._sweeps import Factor, Noise, Offset, State

OF_FACTOR = ("t", "mean", "cov", "precision", "shift")


def write(path: str | os.PathLike[str], options: Options, seed: int, fitted: Fitted | None) -> None:
    """Write a model."""
    arrays: dict[str, Any] = {"options": np.array(json.dumps(asdict(options))), "seed": np.array(seed, np.uint64)}
    if fitted is not None:
        arrays |= _state(fitted.state)
        about = {name: getattr(fitted, name) for name in ("n_iter", "trace", "converged", "n_dropped")}
        about |= {"axes": [(axis.start, axis.length) for axis in fitted.axes], "scale": asdict(fitted.scale)}
        about["calibration"] = None if fitted.calibration is None else asdict(fitted.calibration)
        arrays["about"] = np.array(json.dumps(about))
    np.savez(path, **arrays)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], int, Fitted | None]:
    """Read the options, the seed and the posterior of a model.

    Raises
    ------
    ValueError
        The file is not one that `write` wrote.
    """
    with reading(NAME, path) as file:
        options, seed = json.loads(str(file["options"])), int(file["seed"])
        if "about" not in file:
            return options, seed, None
        about = json.loads(str(file["about"]))
        state, found = _read_state(file), about.pop("calibration")
        units = zip(about.pop("axes"), state.factors, strict=True)
        axes = tuple(Axis(start, length, factor.t) for (start, length), factor in units)
        about["scale"] = Scale(**about["scale"])
        about["calibration"] = None if found is None else Calibration(**found)
        return options, seed, Fitted(state, axes, **about)


def _state(state: State) -> dict[str, Any]:
    arrays: dict[str, Any] = {"noise": np.array([state.noise.a, state.noise.b]), "misfit": np.array(state.misfit)}
    arrays["offset"] = np.array([state.offset.precision, state.offset.shift])
    for k, factor in enumerate(state.factors):
        arrays |= {f"{name}_{k}": getattr(factor, name) for name in OF_FACTOR}
        arrays |= {f"gain_{k}": np.array(factor.gain), f"prior_{k}": np.array(json.dumps(asdict(factor.prior)))}
        if factor.smoothed is not None:
            arrays |= {f"smoothed_{name}_{k}": x for name, x in vars(factor.smoothed).items()}
    if state.core is not None:
        arrays |= {f"core_{name}": getattr(state.core, name) for name in ("mean", "cov", "precision", "shift", "variance")}
    return arrays


def _read_state(file: Any) -> State:
    factors = []
    while f"mean_{len(factors)}" in file:
        k = len(factors)
        smoothed = None
        if f"smoothed_mean_{k}" in file:
            smoothed = Smoothed(**{name: file[f"smoothed_{name}_{k}"] for name in Smoothed.__dataclass_fields__})
        prior = Prior(**json.loads(str(file[f"prior_{k}"])))
        factors.append(Factor(prior, *[file[f"{name}_{k}"] for name in OF_FACTOR], smoothed=smoothed, gain=float(file[f"gain_{k}"])))
    noise, offset, core = Noise(*file["noise"].tolist()), Offset(*file["offset"].tolist()), None
    if "core_mean" in file:
        core = Core(*[file[f"core_{name}"] for name in ("mean", "cov", "precision", "shift")], variance=float(file["core_variance"]))
    return State(tuple(factors), core, noise, offset, float(file["misfit"]))
