"""Thin layers for machine learning over the algorithms of the library, by what the user is doing; each loads at its first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["compress", "optim"])
