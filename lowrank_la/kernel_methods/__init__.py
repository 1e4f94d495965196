"""Positive semidefinite kernels: Nystrom approximation, leverage scores, kernel ridge regression, in one pass or in tiles."""

from lowrank_la.kernel_methods._functions import RBF, Cosine, KernelFunction, Laplace, Matern, Polynomial

__all__ = ["RBF", "Cosine", "KernelFunction", "Laplace", "Matern", "Polynomial"]
