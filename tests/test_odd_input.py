"""Every public function and class, given something odd for a required argument, answers or says in one line what it wants."""

import dataclasses
import importlib
import inspect
import pkgutil
import warnings
from pathlib import Path

import numpy as np
import pytest

import lowrank_la
from lowrank_la.dpp import Legendre
from lowrank_la.recovery import entry_mask

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

HIDDEN = ("adapters", "cli", "kernels", "estimators")  # options only, a program, no checks, and what scikit-learn checks
SPREADS = ("fwht", "direction_loss")  # linear maps and losses, in which an entry that is not finite shows
X = np.array([[0.0, 1.0], [2.0, 3.0]])
GOOD = {
    "A": X,
    "C": X,
    "H": np.eye(2),
    "K": np.eye(2),
    "M": X,
    "P": np.eye(2),
    "Phi": X,
    "Q": np.eye(2),
    "R": np.eye(2),
    "T": X,
    "U": np.eye(2),
    "V": np.eye(2),
    "X": X,
    "X0": X,
    "X1": X,
    "Y": X,
    "a": np.ones((5, 2)),
    "b": np.ones(2),
    "basis": Legendre(3),
    "blocks": X,
    "bound": np.ones(2),
    "centres": X,
    "charges": np.ones(2),
    "clients": [(X, np.ones(2)), (X + 1, np.ones(2))],
    "cols": np.array([0, 1, 0, 1]),
    "coords": X,
    "count": 5,
    "d": 4,
    "degree": 2,
    "degrees": (1, 2),
    "dim": 2,
    "direction": lambda R: R,
    "eps": 1.0,
    "error": np.ones(2),
    "f": lambda x: x,
    "factors": [X, X],
    "families": Legendre(3),
    "features": lambda x: np.stack([0 * x[:, 0] + 1, x[:, 0]], axis=1),
    "grads": np.ones((3, 2)),
    "images": {"one": X},
    "indices": [(0,), (1,)],
    "k": 1,
    "kernel": "rbf",
    "lam": 0.5,
    "level": 2,
    "masks": np.ones((3, 4)),
    "n": 8,
    "op": entry_mask([0, 1, 0, 1, 2], [0, 1, 1, 0, 1], shape=(3, 2)),
    "p": 2.0,
    "params": (np.eye(2), np.eye(2), np.eye(2)),
    "points": X,
    "rank": 1,
    "ranks": 1,
    "rates": np.ones(2),
    "ratio": 10.0,
    "ridge": 1.0,
    "rows": np.array([0, 0, 1, 1]),
    "s": np.ones(2),
    "shape": (2, 2),
    "shapes": ((1, 1), (2, 2)),
    "size": 2,
    "sketch_size": 2,
    "sparsity": 0.5,
    "support": ([0], [1]),
    "tol": 1e-3,
    "weights": np.ones(2),
    "window": 3,
    "x": np.zeros(2),
    "y": np.ones(2),
}
OWN = {
    "conjugate_directions": {"A": np.eye(2) + 1},
    "conjugate_gradients": {"A": np.eye(2) + 1},
    "direction_loss": {"A": np.eye(2) + 1, "D": np.ones((2, 1)), "R": np.ones((2, 1))},
    "kronecker_omp": {"y": X},
    "kronecker_sbl": {"y": X},
    "kronecker_sbl_batch": {"Y": np.stack([X, X + 1])},
    "oracle_lstsq": {"y": X},
    "recover": {"y": np.ones(5)},
    "self_calibrate": {"A": np.ones((4, 1)), "Y": 1.0 + np.arange(12.0).reshape(3, 4)},
}  # where a name means something else
ODD = {
    "nested list": lambda: [[1.0, 2.0], [3.0, 4.0]],
    "list of rows": lambda: [np.ones(2), np.arange(2.0)],
    "ragged list": lambda: [[1.0, 2.0], [3.0]],
    "empty list": list,
    "list of strings": lambda: ["a", "b"],
    "None": lambda: None,
    "string": lambda: "text",
    "bytes": lambda: b"text",
    "bool": lambda: True,
    "integer": lambda: 3,
    "negative integer": lambda: -1,
    "float": lambda: 2.5,
    "0-d array": lambda: np.array(2.0),
    "empty array": lambda: np.empty(0),
    "no rows": lambda: np.empty((0, 2)),
    "no columns": lambda: np.empty((2, 0)),
    "three axes": lambda: np.ones((2, 2, 2)),
    "object array": lambda: np.array([[1, "a"], [None, 2]], dtype=object),
    "array of strings": lambda: np.array([["a", "b"], ["c", "d"]]),
    "array of NaN": lambda: np.full((2, 2), np.nan),
    "huge entries": lambda: np.full((2, 2), 1e200),
    "complex": lambda: 1j * X,
    "dict": lambda: {"a": 1},
    "set": lambda: {1, 2},
    "generator": lambda: (row for row in (1, 2)),
    "returns None": lambda: lambda *_: None,
    "returns lists": lambda: lambda *_: [[[1.0, 2.0], [3.0, 4.0]]],
    "returns nothing": lambda: lambda *_: [],
}


def _public():
    """Yield the name and the value of what the packages export, once each."""
    root = Path(lowrank_la.__file__).parent
    packages = [info.name for info in pkgutil.iter_modules([str(root)]) if not info.name.startswith("_")]
    for package in ["adapters.compress", *(name for name in packages if name not in HIDDEN)]:
        module = importlib.import_module(f"lowrank_la.{package}")
        own = [
            name
            for name, value in vars(module).items()
            if inspect.isfunction(value) and name[0] != "_" and value.__module__ == module.__name__
        ]
        for name in getattr(module, "__all__", own):
            yield name, getattr(module, name)


def _is_made_by_the_user(thing):
    if not inspect.isclass(thing):
        return callable(thing)
    checks = "\nParameters\n---" in inspect.getdoc(thing) or hasattr(thing, "__post_init__")
    return checks and not (inspect.isabstract(thing) or issubclass(thing, lowrank_la.Result))


def _required(thing):
    parameters = inspect.signature(thing).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


THINGS = {name: thing for name, thing in _public() if _is_made_by_the_user(thing)}
PAIRS = [(name, parameter) for name, thing in sorted(THINGS.items()) for parameter in _required(thing)]


def _has_nan(x):
    if isinstance(x, float | np.ndarray | np.generic):
        x = np.asarray(x)
        return x.dtype.kind in "fc" and bool(np.isnan(x).any())
    if hasattr(x, "_fields"):
        return any(_has_nan(getattr(x, name)) for name in x._fields if "held_out" not in name)
    if isinstance(x, tuple | list):
        return any(map(_has_nan, x))
    if dataclasses.is_dataclass(x):
        names = [field.name for field in dataclasses.fields(x) if field.name[0] != "_" and "held_out" not in field.name]
        return any(_has_nan(getattr(x, name)) for name in names)
    return False


@pytest.mark.parametrize(("name", "parameter"), PAIRS, ids=[f"{name}-{parameter}" for name, parameter in PAIRS])
def test_odd_arguments(name, parameter):
    thing = THINGS[name]
    known = {**GOOD, **OWN.get(name, {})}
    good = {other: known[other] for other in _required(thing) if other != parameter}
    for kind, odd in ODD.items():
        value = odd()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answer = thing(**good, **{parameter: value})
        except (TypeError, ValueError) as error:
            fault = "" if str(error).split(":")[0].split(".")[0] in THINGS else f"{type(error).__name__}: {error}"
        else:
            fault = "NaN" if _has_nan(answer) and not (name in SPREADS and _has_nan(value)) else ""
        assert not fault, f"{name}: {kind} for {parameter} gives {fault}"


def test_the_walk_meets_the_functions():
    functions = {name for name in lowrank_la.__all__ if inspect.isfunction(inspect.unwrap(getattr(lowrank_la, name)))}
    left_out = {name for name in functions if getattr(lowrank_la, name).__module__.split(".")[1] == "_threads"}
    assert functions - left_out <= set(THINGS)
    assert len(PAIRS) > 100
