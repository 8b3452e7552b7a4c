"""How much a server takes: of one request, and of all that it holds at once."""

from dataclasses import dataclass, fields

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Bounds that every request is held to. What is beyond them is refused with a message that names the bound.

    Raises:
        ValueError: a bound is not above 0.
    """

    max_body_mib: int = 64
    """Size of a request's body in MiB."""
    max_image_pixels: int = 16_777_216
    """Pixels of one image; read from its header, before it is decoded."""
    max_images: int = 64
    """Images of one request, the anchor's among them."""
    max_prompt_chars: int = 8192
    """Characters of a prompt."""
    max_rollouts: int = 16
    """Traces of a pair in each display order."""
    max_queue: int = 256
    """Requests held at once: being read, waiting, or being judged."""
    max_held_mib: int = 4096
    """MiB of bodies and decoded images of all requests held at once; and half of that, of one request."""
    timeout_s: float = 120.0
    """Seconds from a request's first byte to its answer."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ValueError(f"{field.name}: expected a number above 0, got {value}")
