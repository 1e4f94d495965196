"""Streams: the posterior becomes the prior of the next data."""

from __future__ import annotations

import math
from dataclasses import replace

from lowrank_la.functional_tucker._ascent import Rules, ascend
from lowrank_la.functional_tucker._data import Observations
from lowrank_la.functional_tucker._fit import Fitted, check, extended, ready, resumed
from lowrank_la.functional_tucker._sweeps import Past


def advance(fitted: Fitted, data: Observations, rules: Rules) -> Fitted:
    """Take in data. What earlier ones said about factors, core and noise stays as it was said."""
    checked = check(fitted, data)
    axes, places, state = extended(fitted, data)
    core = None if state.core is None else (state.core.precision, state.core.shift)
    past = Past(state.noise, state.offset, tuple((factor.precision, factor.shift) for factor in state.factors), core)
    problem, rules = ready(data, axes, places, fitted.scale, past, rules)
    run = ascend(problem, replace(state, misfit=math.inf), rules)
    now = resumed(fitted, run, axes)
    return replace(now, n_dropped=fitted.n_dropped + data.n_dropped, calibration=checked)
