"""What a judge's server says of itself."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Health:
    """A server's state at one moment."""

    status: str
    """"ok", or "stopping": it finishes what it has accepted, and takes nothing new."""
    model: str
    """What its judge was loaded from."""
    version: str
    """Its version of this package."""
    can_listen: bool
    """Whether ``listen=True`` may be asked of it."""
    queue: int
    """Requests that wait for their turn."""
    rates_images: bool = False
    """Whether its judge rates each image by itself, so that one alone has a score; earlier servers do not."""
