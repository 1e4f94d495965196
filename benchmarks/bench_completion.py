"""asv benchmarks of `complete`: time, memory and accuracy, against entries, rank and options."""

import warnings

import numpy as np

from lowrank_la import ConvergenceWarning, complete

OPTIONS = {"bias": {"bias": True}, "huber": {"loss": "huber"}, "nonnegative": {"nonnegative": True}}


def triples(m, n, k, count, noise):
    """Draw entries of a matrix of rank k and unit variance, at distinct places in random order."""
    rng = np.random.default_rng(0)
    U, V = rng.standard_normal((m, k)) / k**0.25, rng.standard_normal((n, k)) / k**0.25
    every = m * n // count
    places = rng.permutation(np.arange(count) * every + rng.integers(0, every, count))
    rows, cols = np.divmod(places, n)
    return (rows, cols, np.sum(U[rows] * V[cols], axis=1) + noise * rng.standard_normal(count)), U, V


class Size:
    """Against the number of entries, at rank 20 and a fixed density."""

    params = ((20_000, 1_000_000, 5_000_000, 20_000_000),)
    param_names = ("entries",)
    timeout = 300

    def setup(self, entries):
        side = int((entries / 0.05 / 4) ** 0.5)
        self.shape, self.rank = (4 * side, side), 20 if entries > 20_000 else 2
        self.triples, self.U, self.V = triples(*self.shape, self.rank, entries, 0.01)
        self.time_complete(entries)

    def time_complete(self, entries):
        return complete(self.triples, self.rank, shape=self.shape, rng=0)

    def peakmem_complete(self, entries):
        self.time_complete(entries)

    def track_error(self, entries):
        rng = np.random.default_rng(1)
        i, j = (rng.integers(0, length, 100_000) for length in self.shape)
        return float(np.sqrt(np.mean((self.time_complete(entries).predict(i, j) - np.sum(self.U[i] * self.V[j], axis=1)) ** 2)))


class Solver:
    """Every row solver and option on one problem, for several ranks."""

    params = (("chol", "cg", "sketch", "bias", "huber", "nonnegative"), (4, 16, 64))
    param_names = ("option", "rank")
    shape, count = (600, 400), 120_000

    def setup(self, option, rank):
        self.triples, _, _ = triples(*self.shape, rank, self.count, 0.1)
        self.options = OPTIONS.get(option, {"solver": option})
        self.time_complete(option, rank)

    def time_complete(self, option, rank):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # ten sweeps each, converged or not
            return complete(self.triples, rank, shape=self.shape, max_iter=10, tol=0.0, rng=0, **self.options)

    def track_bound(self, option, rank):
        return self.time_complete(option, rank).certificate.bound
