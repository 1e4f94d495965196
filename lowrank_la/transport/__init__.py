"""Optimal transport: entropic plans with brackets of the least cost, and light Schrodinger bridges."""

from lowrank_la.transport._bridge import LightBridge, light_bridge
from lowrank_la.transport._divergence import DivergenceResult, sinkhorn_divergence
from lowrank_la.transport._result import TransportResult
from lowrank_la.transport._sinkhorn import sinkhorn

__all__ = ["DivergenceResult", "LightBridge", "TransportResult", "light_bridge", "sinkhorn", "sinkhorn_divergence"]
