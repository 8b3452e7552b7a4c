"""The exception with which a run breaks off where it was asked to, having lost nothing."""

from lit_listener.vlm.stopping import StopRequested

__all__ = ["StopRequested"]
