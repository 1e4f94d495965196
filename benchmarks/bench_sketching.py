"""asv benchmarks of sketching: time and memory of every operator and of the Walsh-Hadamard transform, distortion of subspaces."""

import numpy as np

from lowrank_la import sketching


class Operators:
    """Every operator, from small to large."""

    params = (("SparseSign", "SRHT", "SRDCT", "BGP", "CountSketch", "Rademacher", "Gaussian"), ((2000, 10), (1 << 17, 50), (1 << 20, 100)))
    param_names = ("operator", "shape")
    timeout = 300

    def setup(self, operator, shape):
        n, c = shape
        self.A = np.random.default_rng(0).standard_normal(shape)
        self.S = getattr(sketching, operator)(4 * c, n, rng=0)
        self.Y = self.S.apply(self.A)
        self.S.adjoint(self.Y[:, :1])

    def time_apply(self, operator, shape):
        self.S.apply(self.A)

    def time_adjoint(self, operator, shape):
        self.S.adjoint(self.Y[:, :1])

    def peakmem_apply(self, operator, shape):
        self.S.apply(self.A)


class Distortion:
    """Largest change of a norm in a subspace of dimension 50 by a sketch of 200 rows; 0.5 for Gaussian theory."""

    params = (("SparseSign", "SRHT", "SRDCT", "BGP", "CountSketch", "Rademacher", "Gaussian"), ("incoherent", "coherent"))
    param_names = ("operator", "data")

    def track_distortion(self, operator, data):
        n, k = 4096, 50
        Q = np.eye(n, k) if data == "coherent" else np.linalg.qr(np.random.default_rng(0).standard_normal((n, k)))[0]
        s = np.linalg.svd(getattr(sketching, operator)(4 * k, n, rng=0).apply(Q), compute_uv=False)
        return max(s[0] - 1, 1 - s[-1])


class Layout:
    """Sparse signs on other layouts and dtypes of the same matrix."""

    params = (("C", "F", "float32", "complex128", "csr"), ((2000, 10), (1 << 18, 100)))
    param_names = ("layout", "shape")

    def setup(self, layout, shape):
        from scipy.sparse import random_array

        n, c = shape
        A = np.random.default_rng(0).standard_normal(shape)
        forms = {"C": lambda: A, "F": lambda: np.asfortranarray(A), "csr": lambda: random_array(shape, density=0.05, format="csr", rng=0)}
        self.A = forms.get(layout, lambda: A.astype(layout))()
        self.S = sketching.SparseSign(4 * c, n, rng=0)
        self.S.apply(self.A)

    def time_apply(self, layout, shape):
        self.S.apply(self.A)


class Hadamard:
    """Walsh-Hadamard transforms of narrow and wide arrays, in place."""

    params = ((1 << 10, 1 << 16, 1 << 20), (1, 3, 8, 15, 64, 100))
    param_names = ("rows", "columns")
    timeout = 300

    def setup(self, rows, columns):
        self.A = np.zeros((rows, columns))
        sketching.fwht(self.A, overwrite=True)

    def time_fwht(self, rows, columns):
        sketching.fwht(self.A, overwrite=True)
