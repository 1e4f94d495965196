"""Stream fifty million rows through `TopEigenvector` in bounded memory: seconds, peak memory, error.

    python -m benchmarks.long_stream                    # 5e7 x 64, 13 GB of float32 that never exist at once
    python -m benchmarks.long_stream --rows 2e6

Rows are normal, with variance 4 in one direction and 1 in all others, and a thousand times heavier every five million rows. They
are made block by block; their Gram matrix, summed up beside the stream, gives the true v1 and the time to compare with.
Memory is the high-water mark of the process above what it took before the first row.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np

from benchmarks.compare import _runner
from lowrank_la.streaming import TopEigenvector

COLUMNS = 64
BLOCK = 10_000
HEAVY = 500  # blocks between heavy rows


def main() -> None:
    """Print one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=float, default=5e7)
    for name, figure in stream(round(parser.parse_args().rows / BLOCK)).items():
        print(f"{name}: {figure:.6g}", flush=True)


def blocks(count: int) -> Iterator[np.ndarray]:
    """Make rows block by block."""
    rng = np.random.default_rng(0)
    for number in range(count):
        rows = rng.standard_normal((BLOCK, COLUMNS), np.float32)
        rows[:, 0] *= 2
        if number % HEAVY == 0:
            rows[0] *= 1000
        yield rows


def stream(count: int) -> dict[str, float]:
    """Stream so many blocks through ours and into a Gram matrix."""
    TopEigenvector(COLUMNS, rng=0).partial_fit(next(blocks(1))).result()  # compiles
    top, G = TopEigenvector(COLUMNS, rng=0), np.zeros((COLUMNS, COLUMNS))
    seconds = {"making rows": 0.0, "TopEigenvector": 0.0, "Gram matrix": 0.0}
    with _runner._PeakMemory() as memory:
        begin = time.perf_counter()
        for rows in blocks(count):
            made = time.perf_counter()
            top.partial_fit(rows)
            fitted = time.perf_counter()
            wide = rows.astype(np.float64)
            G += wide.T @ wide
            end = time.perf_counter()
            for name, span in zip(seconds, (made - begin, fitted - made, end - fitted), strict=True):
                seconds[name] += span
            begin = time.perf_counter()
        result = top.result()
    values, V = np.linalg.eigh(G)
    carried = float(result.v @ G @ result.v)
    return {
        "rows": result.n_rows,
        **{f"seconds for {name}": span for name, span in seconds.items()},
        "peak memory in MiB": memory.extra if memory.extra is not None else np.nan,
        "numbers in the state": result.space,
        "numbers in the state over columns": result.space / COLUMNS,
        "rows kept apart": result.heavy_rows.size,
        "1 - (v . v1)^2": 1 - float(result.v @ V[:, -1]) ** 2,
        "energy over lambda_1": carried / values[-1],
        "certified energy over lambda_1": result.lower / values[-1],
    }


if __name__ == "__main__":
    main()
