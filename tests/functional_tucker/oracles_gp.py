"""Dense Gaussian-process regression in long double: the kernels by their formulas, the posterior by elimination."""

import numpy as np

Wide = np.longdouble


def kernel(name, gaps, lengthscale, period=None):
    """Correlations at distances `gaps`."""
    x = np.abs(np.asarray(gaps, dtype=Wide)) / Wide(lengthscale)
    if name == "matern12":
        return np.exp(-x)
    if name == "matern32":
        x = x * np.sqrt(Wide(3))
        return (1 + x) * np.exp(-x)
    if name == "matern52":
        x = x * np.sqrt(Wide(5))
        return (1 + x + x * x / 3) * np.exp(-x)
    if name == "iid":
        return (x == 0).astype(Wide)
    if name == "rbf-approx":
        return np.exp(-x * x / 2)
    c = 2 * np.pi * Wide(lengthscale) / Wide(period)
    return np.exp(-2 * np.sin(np.pi * x * Wide(lengthscale) / Wide(period)) ** 2 / c**2)


def eliminate(M, X):
    """Solve M Y = X; return Y and the logarithm of |det M|."""
    M, X, log_det = np.array(M, dtype=Wide), np.array(X, dtype=Wide), Wide(0)
    n = len(M)
    for k in range(n):
        p = k + int(np.argmax(abs(M[k:, k])))
        M[[k, p]], X[[k, p]] = M[[p, k]], X[[p, k]]
        log_det += np.log(abs(M[k, k]))
        f = M[k + 1 :, k : k + 1] / M[k, k]
        M[k + 1 :], X[k + 1 :] = M[k + 1 :] - f * M[k], X[k + 1 :] - f * X[k]
    for k in range(n - 1, -1, -1):
        X[k] = (X[k] - M[k, k + 1 :] @ X[k + 1 :]) / M[k, k]
    return X, log_det


def posterior(K, precision, shift):
    """Condition R processes with covariance K over N points on observations of the first n of them.

    Returns means (N, R), covariances (N, R, R) and the logarithm of the evidence.
    """
    n, R = shift.shape
    N = len(K)
    K = np.kron(np.asarray(K, dtype=Wide), np.eye(R, dtype=Wide))
    H = np.zeros((n * R, n * R), dtype=Wide)
    for j in range(n):
        H[j * R : (j + 1) * R, j * R : (j + 1) * R] = precision[j]
    shift = shift.astype(Wide).ravel()
    M = np.eye(n * R, dtype=Wide) + H @ K[: n * R, : n * R]
    solved, log_det = eliminate(M, np.concatenate([H @ K[: n * R], shift[:, None]], axis=1))
    mean = K[:, : n * R] @ solved[:, -1]
    cov = K - K[:, : n * R] @ solved[:, :-1]
    blocks = np.stack([cov[j * R : (j + 1) * R, j * R : (j + 1) * R] for j in range(N)])
    return mean.reshape(N, R), blocks, shift @ mean[: n * R] / 2 - log_det / 2
