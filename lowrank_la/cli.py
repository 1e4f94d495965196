"""The command line: lowrank-la demo, complete, recommend, lstsq, info."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import platform
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import lowrank_la
from lowrank_la._ratings import BadFile, Ratings, Recommender, read_ratings

BAD = 2  # exit status for input that cannot be used


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Parameters
    ----------
    arguments : sequence of str, default sys.argv[1:]
        Words of the command line after the program's name.

    Returns
    -------
    int
        0, or 2 with one line on the error stream if a file or a value cannot be used.

    Raises
    ------
    SystemExit
        The words are no command, or ask for help.

    Examples
    --------
    >>> from lowrank_la.cli import main
    >>> main(["recommend", "no-such-file.npz", "42"])
    2
    """
    options = _parser().parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("always", lowrank_la.ConvergenceWarning)
        warnings.showwarning = _print_warning
        try:
            options.run(options)
        except BadFile as error:
            print(f"lowrank-la: {error}", file=sys.stderr)
            return BAD
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lowrank-la", description="Certified randomized and low-rank linear algebra.")
    parser.add_argument("--version", action="version", version=lowrank_la.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="restore a photograph, solve a large regression, compare errors with certificates")
    demo.add_argument("--out", type=Path, default=Path("demo_output"), help="folder for the pictures (default %(default)s)")
    demo.set_defaults(run=_demo)

    fit = commands.add_parser("complete", help="fit a low-rank model to a file of ratings")
    fit.add_argument("ratings", help="user, item, rating on each line; further columns are ignored; header, .gz and any separator are fine")
    fit.add_argument("--rank", type=_rank, default=20, help="a number, or auto (default %(default)s)")
    fit.add_argument("--out", type=Path, help="write the factors to this .npz file")
    fit.add_argument("--seed", type=int, default=0, help="chooses the held-out ratings (default %(default)s)")
    fit.set_defaults(run=_complete)

    recommend = commands.add_parser("recommend", help="list items that a user has not rated, best first")
    recommend.add_argument("factors", help="file that 'complete --out' wrote")
    recommend.add_argument("user", help="id as in the ratings")
    recommend.add_argument("--top", type=int, default=10, help="number of items (default %(default)s)")
    recommend.set_defaults(run=_recommend)

    lstsq = commands.add_parser("lstsq", help="solve min ||A x - b|| for arrays in .npy files, which are not read into memory at once")
    lstsq.add_argument("A", help=".npy file, (n, d)")
    lstsq.add_argument("b", help=".npy file, (n,) or (n, k)")
    lstsq.add_argument("--out", type=Path, help="write x to this .npy file")
    lstsq.add_argument("--ridge", type=float, default=0.0, help="add this times ||x||^2 (default %(default)s)")
    lstsq.add_argument("--seed", type=int, default=0, help="of the sketch (default %(default)s)")
    lstsq.set_defaults(run=_lstsq)

    info = commands.add_parser("info", help="show versions, backends and threads")
    info.set_defaults(run=_info)
    return parser


def _rank(text: str) -> int | str:
    return text if text == "auto" else int(text)


def _print_warning(message: Any, *_: Any) -> None:
    print(f"lowrank-la: {message}", file=sys.stderr)


def _demo(options: argparse.Namespace) -> None:
    if not (_installed("sklearn") and _installed("matplotlib")):
        _stop("the demo needs scikit-learn and matplotlib: pip install 'lowrank_la[demo]'")
    from lowrank_la import _demo as demo

    with _writing(options.out):
        demo.run(options.out)


def _complete(options: argparse.Namespace) -> None:
    _check_folder(options.out)
    start = time.perf_counter()
    ratings = read_ratings(options.ratings)
    users, items = ratings.shape
    print(f"{len(ratings.values)} ratings of {items} items by {users} users, read in {time.perf_counter() - start:.1f} s")
    if ratings.repeats:
        print(f"lowrank-la: {ratings.repeats} ratings were replaced by later ones of the same user and item", file=sys.stderr)
    triples = (ratings.users, ratings.items, ratings.values)
    show = sys.stderr.isatty() and _installed("tqdm")
    start = time.perf_counter()
    try:
        model = lowrank_la.complete(triples, options.rank, shape=ratings.shape, bias=True, rng=options.seed, progress=show)
    except ValueError as error:
        _stop(f"{options.ratings}: {error}")
    print(f"rank {model.rank}, {model.n_iter} sweeps in {time.perf_counter() - start:.1f} s")
    print(f"held-out RMSE {_held_out_error(ratings, model):.4f}; {model.certificate}")
    if options.out:
        with _writing(options.out):
            Recommender.of(ratings, model).save(options.out)
        print(f"factors, ids and what each user has rated: {options.out}")


def _held_out_error(ratings: Ratings, model: lowrank_la.CompletionResult) -> float:
    """Root-mean-square error over the ratings behind the certificate."""
    width = ratings.shape[1]
    keys = ratings.users.astype(np.int64) * width + ratings.items
    rows, cols = model.held_out
    held_out = np.sort(np.asarray(rows, np.int64) * width + cols)
    if len(held_out) == 0:
        return float("nan")
    there = held_out[np.searchsorted(held_out, keys).clip(max=len(held_out) - 1)] == keys
    error = ratings.values[there] - model.predict(ratings.users[there], ratings.items[there])
    return float(np.sqrt(np.mean(error**2)))


def _recommend(options: argparse.Namespace) -> None:
    recommender = Recommender.load(options.factors)
    if options.top < 1:
        _stop(f"--top must be at least 1; got {options.top}")
    try:
        best = recommender.recommend(options.user, options.top)
    except KeyError:
        _stop(f"{options.factors}: no user {options.user!r} among {len(recommender.user_ids)}")
    for item, score in best:
        print(f"{item}\t{score:.3f}")


def _lstsq(options: argparse.Namespace) -> None:
    _check_folder(options.out)
    A, b = _array(options.A), _array(options.b)
    start = time.perf_counter()
    try:
        result = lowrank_la.sketch_lstsq(A, b, ridge=options.ridge, rng=options.seed)
    except (ValueError, TypeError) as error:
        _stop(str(error))
    print(f"{A.shape[0]} x {A.shape[1]}, method {result.method}, {time.perf_counter() - start:.2f} s")
    print(f"residual norm {np.array2string(np.asarray(result.residual_norm), precision=6)}, backward error {result.backward_error:.1e}")
    print(result.certificate)
    if options.out:
        with _writing(options.out), open(options.out, "wb") as file:
            np.save(file, result.x)
        print(f"x: {options.out}")


def _array(path: str) -> np.ndarray:
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        _stop(f"{path}: no such file")
    except (OSError, ValueError, EOFError) as error:
        _stop(f"{path}: not an .npy file of numbers ({error})")
    if array.dtype.kind not in "biufc":
        _stop(f"{path}: not an .npy file of numbers (dtype {array.dtype})")
    return array


def _info(options: argparse.Namespace) -> None:
    from numba import get_num_threads
    from threadpoolctl import threadpool_info

    from lowrank_la import _arrays
    from lowrank_la.kernels import _tile

    print(f"lowrank_la {lowrank_la.__version__}, Python {platform.python_version()}, {platform.platform()}")
    print("packages:", ", ".join(f"{name} {_version(name)}" for name in ("numpy", "scipy", "numba", "array-api-compat")))
    print("backends:")
    print(f"  NumPy: compiled kernels, {8 * _tile.VECTOR_BYTES}-bit vectors")
    print(f"  PyTorch: {_version('torch') or 'not installed'}")
    print(f"  CuPy: {_cupy_version()}, {'GPU found' if _arrays.have_gpu() else 'no GPU'}")
    print("threads:")
    print(f"  Numba: {get_num_threads()}")
    for pool in threadpool_info():
        print(f"  {pool['internal_api']} {pool.get('version') or ''}: {pool['num_threads']}")


def _cupy_version() -> str:
    found = [_version(name) for name in ("cupy-cuda13x", "cupy-cuda12x", "cupy")]
    return next(filter(None, found), "not installed")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _check_folder(path: Path | None) -> None:
    """Refuse a place that cannot be written before the work rather than after it."""
    if path and not path.parent.is_dir():
        _stop(f"{path}: no such folder")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn a failure to write into one line."""
    try:
        yield
    except OSError as error:
        _stop(f"{path}: cannot be written ({error.strerror})")


def _stop(message: str) -> NoReturn:
    raise BadFile(message)
