"""Command line of the comparisons; see the package's docstring."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.compare import THREADS, _runner

RESULTS = Path(__file__).parents[1] / "results"


def main() -> int:
    """Run the chosen tasks, print their tables as they come, and save those of each area."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description="Run tasks by lowrank_la and by its peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="areas, or words in names of tasks; all without one")
    parser.add_argument("--size", choices=["full", "small"], default="full")
    parser.add_argument("--repeats", type=int, default=_runner.MAX_REPEATS, help="most timed calls of one contender (default %(default)s)")
    parser.add_argument("--out", type=Path, help="JSON file for the figures; default benchmarks/results/DATE-AREA.json at full size")
    parser.add_argument("--list", action="store_true", help="only list areas and tasks")
    options = parser.parse_args()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[variable] = str(THREADS)  # read when a library is imported, which only the tasks do
    chosen = _choose(options.names)
    if not chosen:
        parser.error(f"no task matches {' '.join(options.names)}")
    if options.list:
        print("\n".join(f"{area}: {task.name}" for area, tasks in chosen.items() for task in tasks))
        return 0
    host = _runner.machine()
    for area, tasks in chosen.items():
        results = {}
        for task in tasks:
            results[task.name] = _runner.measure(task, options.size, options.repeats)
            heading = task.name if options.size == "full" else f"{task.name} (small stand-in, not of the size that the name says)"
            print(f"\n## {heading}\n", *_runner.table(results[task.name]), sep="\n", flush=True)
            path = options.out or (RESULTS / f"{host['date']}-{area}.json" if options.size == "full" else None)
            if path:
                _runner.save(path.with_suffix(".json"), host, options.size, results)
    return 0


def _choose(names: list[str]) -> dict[str, list[_runner.Task]]:
    chosen = {}
    for area, tasks in _runner.areas().items():
        wanted = [task for task in tasks if not names or area in names or any(name in task.name for name in names)]
        if wanted:
            chosen[area] = wanted
    return chosen


if __name__ == "__main__":
    sys.exit(main())
