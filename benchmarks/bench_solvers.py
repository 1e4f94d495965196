"""asv benchmarks of iterative solvers: time and steps, against size and right-hand sides."""

import numpy as np
import scipy.sparse as sp

from benchmarks.compare.solvers import poisson
from lowrank_la.solvers import conjugate_directions, conjugate_gradients, federated_wls, lsmr


class Poisson:
    """`conjugate_gradients` on a square grid."""

    params = ((10, 100, 300), (1, 8))
    param_names = ("n", "count")

    def setup(self, n, count):
        self.A = poisson(n)
        self.B = np.random.default_rng(0).standard_normal((n * n, count))
        self.time_gradients(n, count)

    def time_gradients(self, n, count):
        return conjugate_gradients(self.A, self.B)

    def peakmem_gradients(self, n, count):
        self.time_gradients(n, count)

    def track_steps(self, n, count):
        return self.time_gradients(n, count).n_iter

    def time_directions(self, n, count):
        return conjugate_directions(self.A, self.B[:, 0], lambda r: r)


class Dense:
    """`conjugate_gradients` with a well-conditioned dense matrix: checks and certificate count as much as the iteration."""

    params = ((100, 1000, 3000), (1, 8))
    param_names = ("n", "count")

    def setup(self, n, count):
        rng = np.random.default_rng(0)
        G = rng.standard_normal((n, n))
        self.A, self.B = G @ G.T + n * np.eye(n), rng.standard_normal((n, count))
        self.time_gradients(n, count)

    def time_gradients(self, n, count):
        return conjugate_gradients(self.A, self.B)


class LeastSquares:
    """`lsmr` for sparse matrices with 8 entries a row."""

    params = ((100, 10000, 200000), (1, 4))
    param_names = ("m", "count")

    def setup(self, m, count):
        rng, n = np.random.default_rng(0), m // 5
        self.A = sp.csr_array((rng.standard_normal(8 * m), rng.integers(0, n, 8 * m), np.arange(0, 8 * m + 1, 8)), shape=(m, n))
        self.B = rng.standard_normal((m, count))
        self.time_lsmr(m, count)

    def time_lsmr(self, m, count):
        return lsmr(self.A, self.B)

    def peakmem_lsmr(self, m, count):
        self.time_lsmr(m, count)

    def track_steps(self, m, count):
        return self.time_lsmr(m, count).n_iter


class Federated:
    """`federated_wls` for many clients."""

    params = (10, 100, 1000)
    param_names = ("count",)

    def setup(self, count):
        rng = np.random.default_rng(0)
        self.clients = [(rng.standard_normal((30, 8)), rng.standard_normal(30)) for _ in range(count)]

    def time_rounds(self, count):
        return federated_wls(self.clients, participation=0.5, rounds=100, rng=0, rho=30.0)
