"""Systems whose exact solutions and residuals are known, and the published federated update as an oracle."""

import numpy as np
import scipy.sparse as sp


class Map:
    """The least that a linear map with an adjoint has to offer."""

    def __init__(self, A):
        self.A, self.shape = A, A.shape

    def __matmul__(self, X):
        return self.A @ X

    @property
    def T(self):
        return Map(self.A.T)


def poisson(n):
    """Five-point Laplacian on an n x n grid."""
    T, eye = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n)), sp.eye_array(n)
    return (sp.kron(T, eye) + sp.kron(eye, T)).tocsr()


def least_of_poisson(n):
    return 8 * np.sin(np.pi / (2 * (n + 1))) ** 2


def spd(n, cond, seed, kind="real"):
    """A Hermitian matrix with given condition number, and its eigenvalues."""
    rng = np.random.default_rng(seed)
    G = rng.standard_normal((n, n)) + (1j * rng.standard_normal((n, n)) if kind == "complex" else 0)
    Q = np.linalg.qr(G)[0]
    values = np.geomspace(1, cond, n) if n > 1 else np.ones(1)
    A = (Q * values) @ Q.conj().T
    return (A + A.conj().T) / 2


def exact_residual(A, x, b):
    """b - A x, in long double."""
    A = A.toarray() if sp.issparse(A) else A
    wide = np.clongdouble if np.iscomplexobj(A) or np.iscomplexobj(x) else np.longdouble
    return b.astype(wide) - A.astype(wide) @ x.astype(wide)


def exact_solution(A, b):
    """Solve by LU, refined with residuals in long double."""
    A = A.toarray() if sp.issparse(A) else A
    x = np.linalg.solve(A, b)
    wide = np.clongdouble if np.iscomplexobj(x) else np.longdouble
    x = x.astype(wide)
    for _ in range(5):
        r = b.astype(wide) - A.astype(wide) @ x
        x = x + np.linalg.solve(A, r.astype(np.complex128 if wide is np.clongdouble else np.float64))
    return x


def textbook_cg(A, b, steps):
    """Iterates of the method of Hestenes and Stiefel."""
    x, r = np.zeros_like(b), b
    p, iterates = r, []
    for _ in range(steps):
        q = A @ p
        alpha = (r @ r) / (p @ q)
        x, new = x + alpha * p, r - alpha * q
        p, r = new + (new @ new) / (r @ r) * p, new
        iterates.append(x)
    return iterates


def clients(count, d, seed=0, weighted=True):
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal(d)
    for _ in range(count):
        X = rng.standard_normal((40, d)) * rng.uniform(0.5, 2, d)
        y = X @ (truth + 0.3 * rng.standard_normal(d)) + 0.1 * rng.standard_normal(40)
        yield (X, y, rng.uniform(0.2, 3, 40)) if weighted else (X, y)


def pooled(data):
    """The minimiser over all data, by a QR factorization."""
    X = np.concatenate([c[0] * np.sqrt(c[2])[:, None] for c in data])
    y = np.concatenate([c[1] * np.sqrt(c[2]) for c in data])
    return np.linalg.lstsq(X, y)[0]


def published_update(data, rho, rounds):
    """The update without multipliers, all clients, no noise: what the server holds after each round."""
    H = [X.T @ (q[:, None] * X) for X, _, q in data]
    c = [X.T @ (q * y) for X, y, q in data]
    w = [np.linalg.solve(h, v) for h, v in zip(H, c, strict=True)]
    z = before = np.mean(w, axis=0)
    means = []
    for _ in range(rounds):
        w = [np.linalg.solve(h + rho * np.eye(z.size), h @ v + rho * (2 * z - before)) for h, v in zip(H, w, strict=True)]
        before, z = z, np.mean(w, axis=0)
        means.append(z)
    return means
