"""asv benchmarks of Tucker decompositions: time, memory and accuracy, against shape, tolerance and method."""

import numpy as np

from benchmarks.compare.tucker import rows, smooth
from lowrank_la.tensors import tucker


class Smooth:
    """`tucker` of a smooth tensor."""

    params = ((12, 100, 300), (1e-3, 1e-6, 1e-10), ("auto", "sthosvd", "hosvd", "hooi"))
    param_names = ("n", "tol", "method")
    timeout = 300

    def setup(self, n, tol, method):
        self.T = smooth(n, 3)
        self.time_tucker(n, tol, method)

    def time_tucker(self, n, tol, method):
        return tucker(self.T, tol=tol, method=method, rng=0)

    def peakmem_tucker(self, n, tol, method):
        self.time_tucker(n, tol, method)

    def track_relative_error(self, n, tol, method):
        result = self.time_tucker(n, tol, method)
        return rows(result.core, result.factors, self.T) / np.linalg.norm(self.T)


class Stack:
    """Many small tensors at once."""

    params = (10, 1000)
    param_names = ("count",)

    def setup(self, count):
        self.T = np.random.default_rng(0).standard_normal((count, 12, 12, 12))

    def time_stack(self, count):
        return tucker(self.T, ranks=4, batched=True)


class Canonical:
    """Sums of rank-one tensors."""

    params = (50, 500, 5000)
    param_names = ("terms",)

    def setup(self, terms):
        x, rng = np.linspace(0, 1, 200)[:, None], np.random.default_rng(0)
        self.factors = [np.exp(-30 * (x - rng.random(terms)) ** 2) for _ in range(3)]
        self.weights = rng.standard_normal(terms)

    def time_canonical(self, terms):
        return tucker((self.weights, self.factors), tol=1e-6)
