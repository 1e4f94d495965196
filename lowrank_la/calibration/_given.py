"""What is given beside the data: known gains, and noise of sizes s_i in the channels: y_li / s_i has white noise and gains d_i / s_i."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lowrank_la import _arrays, _checks
from lowrank_la.calibration._polish import Fit
from lowrank_la.calibration._problem import NAME, Problem
from lowrank_la.calibration._spectral import Options
from lowrank_la.factor._dense import is_complex

QUIET = 1e-6  # least noise of a channel, over the largest


def noise_bounds(noise: Any, dead: np.ndarray) -> np.ndarray | None:
    """Check bounds of the noise; return those of live channels."""
    if noise is None:
        return None
    values = _checks.real_dtype(NAME, "noise", _arrays.on_host(NAME, "noise", noise)).astype(np.float64)
    if values.ndim:
        _checks.shape(NAME, "noise", values, dead.shape)
    _checks.finite(NAME, "noise", np.atleast_1d(values))
    _checks.real(NAME, "the least noise", values.min(), 0.0)
    return np.broadcast_to(values, dead.shape)[~dead]


def with_known(problem: Problem, options: Options, known: Any, dead: np.ndarray) -> Options:
    """Check known gains, and count them among live channels.

    Raises
    ------
    TypeError
        They are no pair, or complex for real data.
    ValueError
        They are not distinct live channels with values that are finite and not zero, and of modulus one if all gains are.
    """
    if known is None:
        return options
    if not (isinstance(known, tuple) and len(known) == 2):
        raise TypeError(f"{NAME}: known must be a tuple (indices, values); got {type(known).__name__}")
    places = np.atleast_1d(_arrays.to_numpy(known[0]) if _arrays.is_array(known[0]) else np.asarray(known[0]))
    _checks.ids(NAME, "the indices in known", places, dead.size)
    values = _arrays.beside(NAME, "the values in known", known[1], problem.Y)
    values = _arrays.namespace(values).reshape(values, (-1,))
    _checks.shape(NAME, "the values in known", values, places.shape)
    _checks.finite(NAME, "the values in known", values)
    if places.size == 0 or np.unique(places).size < places.size or dead[places].any():
        raise ValueError(f"{NAME}: the indices in known must be distinct live channels, at least one; got {places.tolist()}")
    if not np.all(np.abs(_arrays.to_numpy(values)) > 0):
        raise ValueError(f"{NAME}: the values in known must not be zero; got {int(np.sum(_arrays.to_numpy(values) == 0))} zeros")
    if is_complex(values) and not is_complex(problem.Y):
        raise TypeError(f"{NAME}: the values in known must be real, as Y and A are; got dtype {values.dtype}")
    if options.unit_modulus and np.any(off := abs(np.abs(_arrays.to_numpy(values)) - 1) > 1e-6):
        raise ValueError(f"{NAME}: the values in known must have modulus one with unit_modulus; got {int(np.sum(off))} others")
    live = np.cumsum(~dead) - 1
    return replace(options, places=live[places], values=values)


def levels(bounds: np.ndarray | None, options: Options) -> np.ndarray:
    """Return sizes of the noise with a mean square of one; ones if they are not known, or an option wants the gains as they are."""
    if bounds is None or options.smooth or options.unit_modulus or not bounds.max() > 0:
        return np.ones(1 if bounds is None else bounds.size)
    sizes = np.maximum(bounds, QUIET * bounds.max())
    return sizes / np.sqrt(np.mean(sizes**2))


def whitened(problem: Problem, options: Options, sizes: np.ndarray, dead: np.ndarray) -> tuple[Problem, Options]:
    """Divide measurements and known gains by the sizes of the noise."""
    if np.all(sizes == 1):
        return problem, options
    if options.places is not None and options.values is not None:
        options = replace(options, values=options.values / _arrays.from_numpy(sizes[options.places], options.values))
    every = np.ones(problem.m)
    every[~dead if problem.m == dead.size else slice(None)] = sizes  # dead channels may be gone
    return replace(problem, Y=problem.Y / _arrays.from_numpy(every, problem.Y)), options


def coloured(fit: Fit, sizes: np.ndarray) -> Fit:
    """Give the gains the sizes back that the noise took."""
    return fit if np.all(sizes == 1) else replace(fit, d=fit.d * _arrays.from_numpy(sizes, fit.d))
