"""The face of the library: layers, public names, docstrings."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import lowrank_la

ROOT = Path(lowrank_la.__file__).parent
LAYERS = [
    {"_arrays", "_result"},
    {"_checks", "_random", "_threads"},
    {"kernels"},
    {"solvers"},
    {"sketching"},
    {"factor"},
    {"sampling"},
    {"tensors"},
    {"functions"},
    {
        "regression",
        "completion",
        "dpp",
        "curvature",
        "streaming",
        "kernel_methods",
        "transport",
        "sliced",
        "functional_tucker",
        "sbl",
        "calibration",
        "recovery",
    },
    {"plotting", "adapters", "estimators"},
    {"_demo", "_ratings"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def _module_of(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


def _imports(path):
    """Top-level modules of the package that a file imports, wherever the statement stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "lowrank_la":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lowrank_la."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("lowrank_la."))
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: relative import"


def _upward(source, imported):
    """Say whether an import breaks the layers: only downwards, or within one module or package."""
    return imported in RANK and source != imported and RANK[imported] >= RANK[source] and RANK[source] > 1


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_only_point_down(path):
    source = _module_of(path)
    if source == "__init__":
        return
    assert source in RANK, f"{source} has no layer: add it to LAYERS"
    for imported in _imports(path):
        assert not _upward(source, imported), f"{source} must not import {imported}"
        if RANK[source] <= 1 and imported in RANK:
            assert RANK[imported] <= RANK[source], f"{source} must not import {imported}"


def test_an_upward_import_would_be_found():
    assert _upward("sketching", "regression")
    assert _upward("regression", "completion")
    assert not _upward("regression", "sketching")


def test_every_public_name_loads():
    for name in lowrank_la.__all__:
        assert getattr(lowrank_la, name) is not None
    assert {"complete", "sketch_lstsq", "Certificate", "ConvergenceWarning", "limit_threads", "sketching"} <= set(lowrank_la.__all__)


def test_no_module_hides_a_function():
    modules = {info.name for info in pkgutil.iter_modules([str(ROOT)])}
    functions = {name for name in lowrank_la.__all__ if inspect.isfunction(getattr(lowrank_la, name))}
    assert not modules & functions


@pytest.mark.parametrize("name", sorted(set(lowrank_la.__all__)))
def test_public_functions_are_documented_and_typed(name):
    thing = getattr(lowrank_la, name)
    assert inspect.getdoc(thing)
    if not inspect.isfunction(thing):
        return
    for section in ("Parameters", "Raises", "Examples"):
        assert f"\n{section}\n---" in inspect.getdoc(thing), f"{name} lacks {section}"
    for parameter in inspect.signature(thing).parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, f"{name}: {parameter.name} has no type"


HEAVY = ("numba", "torch", "cupy", "dask", "matplotlib", "sklearn", "scipy.linalg", "scipy.sparse", "tqdm")


def test_imports_are_light():
    code = (
        "import sys; import lowrank_la; assert 'numpy' not in sys.modules;"
        "from lowrank_la import complete, sketch_lstsq;"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# On a GPU these run their references, on cuBLAS, CuPy's sort and its elementwise kernels.
REFERENCE_ON_GPU = {
    "bernoulli",
    "channel_projection",
    "cloud",
    "compress",
    "dense",
    "eliminate",
    "eliminate_points",
    "energy",
    "fine_gradient",
    "fine_scores",
    "gibbs",
    "hermitian",
    "kalman",
    "kernel_entries",
    "kernel_product",
    "krylov",
    "long_rows",
    "moments",
    "near_field",
    "network_simplex",
    "oja",
    "plan_newton",
    "project",
    "row_energy",
    "row_gram",
    "row_scores",
    "scaling",
    "skinny",
    "sorted_transport",
    "sparse_plan",
    "sparse_product",
    "sparse_vector",
    "whiten",
}


def test_kernel_files_offer_a_reference_and_a_dispatcher():
    from lowrank_la.kernels._engine import Kernel

    for path in sorted((ROOT / "kernels").glob("[a-z]*.py")):
        if path.stem == "philox":  # called inside kernels, never by itself
            continue
        module = importlib.import_module(f"lowrank_la.kernels.{path.stem}")
        found = [value for value in vars(module).values() if isinstance(value, Kernel)]
        assert found, f"{path.stem} has no dispatcher"
        assert all(kernel.cpu for kernel in found), f"{path.stem} lacks a CPU version"
        assert all(kernel.cuda for kernel in found) == (path.stem not in REFERENCE_ON_GPU), f"{path.stem}: CUDA version"
