"""Optimal transport: light Schrodinger bridges."""

from lowrank_la.transport._bridge import LightBridge, light_bridge

__all__ = ["LightBridge", "light_bridge"]
