"""Every benchmark runs once at its smallest size, so that it cannot rot."""

import importlib
import inspect
import json
import math
import pkgutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import benchmarks
from benchmarks import compare
from benchmarks.compare import Task, _runner

TASKS = [pytest.param(task, id=f"{area}-{task.name}") for area, tasks in _runner.areas().items() for task in tasks]
ROOT = Path(benchmarks.__file__).parents[1]


def _suites():
    """Every asv class with every method that asv would run."""
    for info in pkgutil.iter_modules(benchmarks.__path__):
        if not info.name.startswith("bench_"):
            continue
        module = importlib.import_module(f"benchmarks.{info.name}")
        for name, suite in inspect.getmembers(module, inspect.isclass):
            if suite.__module__ == module.__name__ and not name.startswith("_"):
                yield pytest.param(suite, id=f"{info.name}.{name}")


def _smallest(suite):
    """First value of each parameter: asv suites list sizes upwards."""
    params = getattr(suite, "params", [])
    nested = bool(params) and isinstance(params[0], list | tuple)
    return tuple(values[0] for values in params) if nested else tuple(params[:1])


@pytest.mark.parametrize("suite", list(_suites()))
def test_asv_suites_run_at_their_smallest_size(suite):
    arguments = _smallest(suite)
    methods = [name for name in dir(suite) if name.startswith(("time_", "mem_", "peakmem_", "track_"))]
    assert methods, "a suite without a benchmark"
    for name in methods:
        bench = suite()
        if hasattr(bench, "setup"):
            bench.setup(*arguments)
        figure = getattr(bench, name)(*arguments)
        assert not name.startswith("track_") or math.isfinite(figure)
        if hasattr(bench, "teardown"):
            bench.teardown(*arguments)


@pytest.mark.parametrize("task", TASKS)
def test_comparisons_run_at_small_size(task):
    problem = task.setup("small")
    assert next(iter(task.contenders)).startswith("lowrank_la")
    for name, function in task.contenders.items():
        with warnings.catch_warnings():
            if not name.startswith("lowrank_la"):
                warnings.simplefilter("ignore")  # peers may warn as they please
            try:
                answer = function(problem)
            except ImportError:
                assert not name.startswith("lowrank_la")
                continue
        errors = task.error(problem, answer)
        assert errors, "a time without an error says nothing"
        assert not any(math.isnan(float(value)) for value in errors.values())


def _missing(problem):
    import a_package_that_nobody_has  # noqa: F401


def _broken(problem):
    raise ValueError("no")


def test_the_runner_reports_missing_and_broken_peers(tmp_path):
    contenders = {"lowrank_la": sum, "missing": _missing, "broken": _broken}
    task = Task("sum", lambda size: [1.0] * (3 if size == "small" else 10), contenders, lambda problem, answer: {"error": answer - 3})
    ours, missing, broken = _runner.measure(task, "small", repeats=2)
    assert len(ours.times) == 2
    assert 0 <= ours.best <= ours.median
    assert ours.first > 0
    assert ours.errors == {"error": 0.0}
    assert missing.note == "not installed: a_package_that_nobody_has"
    assert broken.note == "failed: ValueError: no"
    host = _runner.machine()
    _runner.save(tmp_path / "figures.json", host, "small", {"sum": [ours, missing, broken]})
    assert json.loads((tmp_path / "figures.json").read_text())["tasks"]["sum"][0]["contender"] == "lowrank_la"
    text = (tmp_path / "figures.md").read_text()
    assert "| missing | not installed: a_package_that_nobody_has |" in text
    assert all(line.count("|") == 8 for line in text.splitlines() if line.startswith("|"))


@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark is Linux's")
def test_peak_memory_sees_what_a_call_holds_for_a_moment():
    with _runner._PeakMemory() as memory:
        bytes([1]) * (64 << 20)
    if memory.extra is None:
        pytest.skip("/proc/self/clear_refs is not writable here")
    assert 60 < memory.extra < 80


def test_the_command_lists_its_tasks():
    listed = subprocess.run([sys.executable, "-m", "benchmarks.compare", "--list"], cwd=ROOT, capture_output=True, text=True, check=False)
    if not TASKS:
        assert listed.returncode == 2
        return
    assert listed.returncode == 0, listed.stderr
    assert len(listed.stdout.splitlines()) == len(TASKS)
    assert compare.THREADS > 0
