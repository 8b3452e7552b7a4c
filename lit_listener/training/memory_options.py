"""The options by which a step is cut to the memory there is. None of them changes a result."""

from dataclasses import dataclass

TOKENS_PER_CPU_PASS = 1536
"""On two cores passes of more tokens were up to 8% faster, and took up to a third more memory, imports included."""


@dataclass(frozen=True)
class Memory:
    """How a step is cut to fit; no result depends on it.

    Args:
        max_tokens_per_pass: most packed tokens (padding included) in one forward or backward pass of policy, reference
            or listener; a group that is longer is cut. null: chosen by the memory plan on a GPU; 1,536 on a CPU, where
            more are a little faster and take more memory.
        max_rollout_tokens: most tokens (prompts once, and all their completions at full length) whose keys and values
            are cached at once in a rollout; null: chosen by the memory plan on a GPU; everything at once on a CPU.
        cached_features_mib: image features kept across epochs, in MiB of the host's memory, least recently used out
            first; 0 keeps none. Needs a frozen vision tower.
    """

    max_tokens_per_pass: int | None = None
    max_rollout_tokens: int | None = None
    cached_features_mib: float = 0.0

    def __post_init__(self) -> None:
        for name in ("max_tokens_per_pass", "max_rollout_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"model.memory.{name}: expected at least 1 token, got {value}")
        if not self.cached_features_mib >= 0:
            raise ValueError(f"model.memory.cached_features_mib: expected at least 0, got {self.cached_features_mib}")
