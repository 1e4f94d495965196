"""How a task is measured and how the figures are written down."""

from __future__ import annotations

import ctypes
import datetime
import gc
import importlib
import importlib.metadata
import json
import os
import pkgutil
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import compare
from benchmarks.compare import Task

MAX_REPEATS = 7
MIN_REPEATS = 3
SLOW = 2.0  # seconds of a timed call after which one is enough
BUDGET = 20.0  # seconds for the timed calls of one contender, as long as it has its least number of repeats
PACKAGES = (
    "lowrank_la",
    "numpy",
    "scipy",
    "numba",
    "torch",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "scikit-learn",
    "cmfrec",
    "fbpca",
    "implicit",
    "dppy",
    "POT",
    "regot",
    "ott-jax",
    "tensorly",
    "teneva",
    "fmm3dpy",
)


@dataclass
class Row:
    """The figures of one contender: seconds, MiB, errors; or a note that says why there are none."""

    contender: str
    first: float | None = None
    times: list[float] = field(default_factory=list)
    extra_memory: float | None = None
    errors: dict[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def best(self) -> float | None:
        return min(self.times, default=None)

    @property
    def median(self) -> float | None:
        return statistics.median(self.times) if self.times else None


def areas() -> dict[str, list[Task]]:
    """Tasks by area: one module of the package each."""
    names = sorted(info.name for info in pkgutil.iter_modules(compare.__path__) if not info.name.startswith("_"))
    return {name: list(importlib.import_module(f"{compare.__name__}.{name}").TASKS) for name in names}


def measure(task: Task, size: str, repeats: int = MAX_REPEATS) -> list[Row]:
    """Run every contender on the same data: a first call, alternating timed calls, and one for the memory and the errors."""
    problem = task.setup(size)
    rows = {name: Row(name) for name in task.contenders}
    for name, function in task.contenders.items():
        rows[name].first, _, rows[name].note = _attempt(function, problem)
    alive = [name for name in rows if not rows[name].note]
    for turn in range(repeats):
        for name in alive:
            times = rows[name].times
            enough = 1 if times and times[0] > SLOW else MIN_REPEATS
            if turn < enough or (enough > 1 and sum(times) < BUDGET):
                seconds, _, rows[name].note = _attempt(task.contenders[name], problem)
                times += [] if seconds is None else [seconds]
    for name in alive:
        with _PeakMemory() as memory:
            _, answer, note = _attempt(task.contenders[name], problem)
        rows[name].extra_memory, rows[name].note = memory.extra, rows[name].note or note
        if not note:
            rows[name].errors = {key: float(value) for key, value in task.error(problem, answer).items()}
    return list(rows.values())


def _attempt(function: Callable[[Any], Any], problem: Any) -> tuple[float | None, Any, str]:
    """Return seconds, answer and an empty note, or what went wrong; one peer that fails must not stop the others."""
    gc.collect()
    start = time.perf_counter()
    try:
        answer = function(problem)
        _wait_for_gpu()
    except ImportError as error:
        return None, None, f"not installed: {error.name or error}"
    except Exception as error:
        return None, None, f"failed: {type(error).__name__}: {error}"
    return time.perf_counter() - start, answer, ""


def _wait_for_gpu() -> None:
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    if cupy is not None and cupy.cuda.is_available():
        cupy.cuda.Device().synchronize()


class _PeakMemory:
    """Peak resident memory above that at the start, in MiB, from the high-water mark that Linux keeps; None elsewhere.

    A sampling thread would see nothing while a compiled kernel holds the interpreter.
    """

    extra: float | None = None

    def __enter__(self) -> _PeakMemory:
        gc.collect()
        try:
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")
        except (OSError, AttributeError):
            self.start = None
        else:
            self.start = _status_mib("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        if self.start is not None:
            self.extra = max(0.0, _status_mib("VmHWM") - self.start)


def _status_mib(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 1024


def machine() -> dict[str, Any]:
    """Describe where and when figures were taken."""
    return {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": compare.THREADS,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_at_start": round(os.getloadavg()[0], 2),
        "gpu": _gpu(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": dict(_versions()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def _gpu() -> str | None:
    from lowrank_la import _arrays

    if not _arrays.have_gpu():
        return None
    import cupy

    return cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def report(host: dict[str, Any], size: str, results: dict[str, list[Row]]) -> str:
    """Write the figures as Markdown: the machine in one paragraph, a table for each task."""
    packages = ", ".join(f"{name} {version}" for name, version in host["packages"].items())
    lines = [
        f"{host['processor']}, {host['cores']} cores, {host['threads']} threads, {host['memory_gib']} GiB, "
        + (f"{host['gpu']}, " if host["gpu"] else "")
        + f"{host['system']}; {host['date']}, load {host['load_at_start']} at the start; size {size}. "
        f"Python {host['python']}, {packages}.",
        "",
        "Seconds: best and median of the timed calls; the first call, which may compile, stands apart. "
        "Memory: peak above what the data take, in MiB, answer included.",
    ]
    for name, rows in results.items():
        lines += ["", f"## {name}", "", *table(rows)]
    return "\n".join(lines) + "\n"


def table(rows: list[Row]) -> list[str]:
    """Lines of a Markdown table: one row for each contender, one column for each figure."""
    measures = list(dict.fromkeys(key for row in rows for key in row.errors))
    heading = ["contender", "best s", "median s", "against ours", "first call s", "extra MiB", *measures]
    ours = rows[0].best
    lines = [_line(heading), _line(["---"] * len(heading))]
    for row in rows:
        if not row.times:
            lines.append(_line([row.contender, row.note, *[""] * (len(heading) - 2)]))
            continue
        ratio = "" if ours is None or row.best is None else f"{row.best / ours:.2f}x"
        cells = [_figure(row.best), _figure(row.median), ratio, _figure(row.first), _figure(row.extra_memory)]
        lines.append(_line([row.contender, *cells, *[_figure(row.errors.get(key)) for key in measures]]))
    return lines


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def save(path: Path, host: dict[str, Any], size: str, results: dict[str, list[Row]]) -> None:
    """Write JSON to `path` and the Markdown report beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tasks = {name: [asdict(row) for row in rows] for name, rows in results.items()}
    path.write_text(json.dumps({"machine": host, "size": size, "tasks": tasks}, indent=1) + "\n")
    path.with_suffix(".md").write_text(report(host, size, results))
