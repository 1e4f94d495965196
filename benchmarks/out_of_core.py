"""Factor a file that is larger than the memory of the process: `StreamingSVD` in one pass, its certificate beside the true error.

    python -m benchmarks.out_of_core                                   # 12 GB under a limit of 2 GB
    python -m benchmarks.out_of_core --gigabytes 0.05 --directory /tmp

The file holds U diag(1/j) V^T for 200 cosine columns in U, so that the least error of each rank is
known. A second process maps it read-only and gives the pages of each block back; its private memory
is limited by RLIMIT_DATA, and the most that was ever resident, mapped pages included, is reported.
"""

from __future__ import annotations

import argparse
import json
import math
import mmap
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

COLUMNS = 2000
SIGNAL = 200
BLOCK = 4096  # rows


def main() -> None:
    """Write the file, factor it in a process of its own, and print one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=12.0, help="size of the file")
    parser.add_argument("--limit", type=float, default=2.0, help="gigabytes of memory for the process that factors it")
    parser.add_argument("--rank", type=int, default=10)
    parser.add_argument("--directory", help="where the file stands while it is needed")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        print(json.dumps(factor(Path(args.read), args.rank, args.limit)))
        return
    with tempfile.TemporaryDirectory(dir=args.directory) as folder:
        path = Path(folder) / "matrix.f64"
        begin = time.perf_counter()
        write(path, round(args.gigabytes * 1e9 / (8 * COLUMNS)))
        print(f"file of {path.stat().st_size / 1e9:.3g} GB written in {time.perf_counter() - begin:.1f} s", flush=True)
        options = ["--read", str(path), "--rank", str(args.rank), "--limit", str(args.limit)]
        command = [sys.executable, "-m", "benchmarks.out_of_core", *options]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    for name, figure in json.loads(answer).items():
        print(f"{name}: {figure:.6g}")


def write(path: Path, rows: int) -> None:
    """Write the matrix by blocks of rows."""
    right = right_vectors() / np.arange(1, SIGNAL + 1)
    with path.open("wb") as file:
        for first in range(0, rows, BLOCK):
            (left_vectors(first, min(first + BLOCK, rows), rows) @ right.T).tofile(file)


def left_vectors(first: int, last: int, rows: int) -> np.ndarray:
    """Give rows of the orthonormal cosines, by a recurrence from column to column."""
    angle = np.pi * (np.arange(first, last) + 0.5) / rows
    U = np.empty((SIGNAL, last - first))
    U[0], U[1] = np.cos(angle), np.cos(2 * angle)
    for j in range(2, SIGNAL):
        U[j] = 2 * U[0] * U[j - 1] - U[j - 2]
    return math.sqrt(2 / rows) * U.T


def right_vectors() -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(0).standard_normal((COLUMNS, SIGNAL)))[0]


def factor(path: Path, rank: int, limit: float) -> dict[str, float]:
    """Stream the file under the limit, then read it once more for the true error."""
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit * 1e9),) * 2)
    from lowrank_la.factor import StreamingSVD

    stream = StreamingSVD(COLUMNS, rank, rng=0)
    seconds = {}
    begin = time.perf_counter()
    for _, block in blocks(path):
        stream.append(block)
    seconds["pass"] = time.perf_counter() - begin
    result = stream.svd()
    seconds["all"] = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    squares = 0.0
    right = (result.V * result.s).T
    for first, block in blocks(path):
        squares += np.linalg.norm(block - result.U[first : first + len(block)] @ right) ** 2
    return {
        "rows": stream.n_rows,
        "seconds in the pass": seconds["pass"],
        "seconds in all": seconds["all"],
        "peak resident memory in GB": peak,
        "error": math.sqrt(squares),
        "estimate": result.error,
        "certificate": result.certificate.bound if result.certificate else math.nan,
        "least error": float(np.linalg.norm(1 / np.arange(rank + 1, SIGNAL + 1))),
        "range error": stream.range_error(),
    }


def blocks(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, rows), views of the mapped file whose pages go when the next block comes."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    A = np.frombuffer(mapped).reshape(-1, COLUMNS)
    for first in range(0, len(A), BLOCK):
        yield first, A[first : first + BLOCK]
        mapped.madvise(mmap.MADV_DONTNEED)


if __name__ == "__main__":
    main()
