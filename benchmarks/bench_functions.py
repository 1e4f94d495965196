"""asv benchmarks of functions in Chebyshev-Tucker format: time, memory, evaluations and accuracy of their construction."""

import numpy as np

from benchmarks.compare import functions
from lowrank_la import chebyshev_tucker

CUBE = {"runge": functions.runge, "newton": functions.newton, "front": functions.front, "ridge": functions.ridge, "mixed": functions.mixed}
CUBE["waves"] = functions.waves


class Construct:
    """The six functions of the authors' collection, from a grid and from lines."""

    params = (tuple(CUBE), ("grid", "cross"), (1e-5, 1e-10))
    param_names = ("function", "method", "tol")
    timeout = 120

    def setup(self, name, method, tol):
        self.f = CUBE[name]
        self.time_construct(name, method, tol)

    def time_construct(self, name, method, tol):
        return chebyshev_tucker(self.f, [(-1, 1)] * 3, tol=tol, method=method, rng=0)

    def peakmem_construct(self, name, method, tol):
        self.time_construct(name, method, tol)

    def track_evaluations(self, name, method, tol):
        return self.time_construct(name, method, tol).n_evaluations

    def track_certified_error_over_true(self, name, method, tol):
        g = self.time_construct(name, method, tol)
        X = np.cos(np.pi * np.random.default_rng(1).random((10_000, 3)))
        return g.certificate.bound / float(np.sqrt(np.mean((g(X) - self.f(*X.T)) ** 2)))


class Variables:
    """Lines against the number of variables."""

    params = (2, 4, 6, 8)
    param_names = ("d",)
    timeout = 120

    def setup(self, d):
        self.time_waves(d)

    def time_waves(self, d):
        return chebyshev_tucker(lambda *x: np.cos(sum(x)), [(-1, 1)] * d, tol=1e-8, method="cross", rng=0)

    def time_newton(self, d):
        return chebyshev_tucker(functions.newton, [(-1, 1)] * d, tol=1e-5, method="cross", rng=0)


class Numbers:
    """Samples on a grid, and a canonical tensor."""

    params = (33, 129)
    param_names = ("m",)

    def setup(self, m):
        x = np.cos(np.pi * np.arange(m) / (m - 1))
        self.samples = functions.runge(*np.ix_(x, x, x), sharp=4.0)
        centres = (np.arange(256) + 0.5) / 128 - 1
        rates = np.linspace(0.5, 8, 4 * m)
        self.canonical = (np.cos(np.arange(4 * m)), [np.exp(-((centres[:, None] - s) ** 2) * rates) for s in (-0.3, 0.1, 0.4)])
        self.time_samples(m)
        self.time_canonical(m)

    def time_samples(self, m):
        return chebyshev_tucker(self.samples, tol=1e-6)

    def time_canonical(self, m):
        return chebyshev_tucker(self.canonical, tol=1e-5, rng=0)
