"""Functions in npz files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from lowrank_la import _arrays
from lowrank_la._result import Certificate
from lowrank_la.factor._intake import reading

NUMBERS = ("truncation", "sample_max", "sample_rms", "stability")


def write(path: str | os.PathLike[str], function: Any) -> None:
    """Write a function: arrays, numbers and texts, nothing that runs."""
    with open(path, "wb") as file:
        np.savez(file, **arrays_of(function))


def arrays_of(function: Any) -> dict[str, Any]:
    """Return all that a file holds of a function, by name."""
    given = function.certificate
    numbers = [*(getattr(function, name) for name in NUMBERS), given.bound, given.confidence]
    factors: dict[str, Any] = {f"factor{k}": _arrays.to_numpy(V) for k, V in enumerate(function.factors)}
    stored: dict[str, Any] = {
        "core": _arrays.to_numpy(function.core),
        "domain": function.domain,
        "tail": np.array(function.tail, dtype=np.float64),
        "numbers": np.array(numbers, dtype=np.float64),
        "counts": np.array([function.resolved, function.n_evaluations], dtype=np.int64),
        "texts": np.array([given.claim, given.method]),
    }
    return stored | factors


def read(name: str, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the fields of a function, as NumPy arrays.

    Raises
    ------
    ValueError
        It is not such a file.
    """
    with reading(name, path) as file:
        return fields_of(file)


def fields_of(file: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the fields of a function from what a file holds.

    Raises
    ------
    ValueError
        Its arrays do not fit together.
    """
    core, domain = file["core"], np.asarray(file["domain"], dtype=np.float64)
    factors = tuple(file[f"factor{k}"] for k in range(len(domain)))
    lead = core.ndim - len(factors)
    if lead not in (0, 1) or any(V.shape[1:] != (r,) for V, r in zip(factors, core.shape[lead:], strict=True)):
        raise ValueError("its arrays do not fit together")
    *evidence, bound, confidence = map(float, file["numbers"])
    resolved, count = map(int, file["counts"])
    claim, method = map(str, file["texts"])
    return {
        "core": core,
        "factors": factors,
        "domain": domain,
        "certificate": Certificate(claim, bound, confidence, method),
        "resolved": bool(resolved),
        "tail": tuple(map(float, file["tail"])),
        **dict(zip(NUMBERS, evidence, strict=True)),
        "n_evaluations": count,
    }
