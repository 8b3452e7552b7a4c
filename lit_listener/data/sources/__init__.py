"""Sources of preference pairs beyond the bundled world."""

from lit_listener.data.sources.table import PairTable

__all__ = ["PairTable"]
