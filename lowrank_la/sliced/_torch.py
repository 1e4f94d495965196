"""Gradients that are known beside a value, for tensors: the only file of the package that imports PyTorch."""

from __future__ import annotations

from typing import Any

from lowrank_la._arrays import Array


def attached(value: float, X: Any, Y: Any, gradients: tuple[Array, Array]) -> Any:
    """Return the value as a tensor of no dimensions whose derivatives by X and Y are the gradients."""
    import torch

    class Known(torch.autograd.Function):
        """A value with its gradients."""

        @staticmethod
        def forward(ctx: Any, X: Any, Y: Any) -> Any:
            return torch.as_tensor(value, dtype=X.dtype, device=X.device)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, *grad_outputs: Any) -> Any:  # type: ignore[override]
            return tuple(grad_outputs[0] * gradient for gradient in gradients)

    return Known.apply(X, Y)
