"""Terms against completions that are too long."""

from torch import Tensor

from lit_listener.training.rewards.term import Judged, RewardTerm
from lit_listener.training.rewards.weights import Weight


class LengthPenalty(RewardTerm):
    """Minus the tokens beyond a free length: a linear price of talking on.

    Args:
        free: tokens, end token included, that cost nothing; at least 0.
        weight: what each further token costs, in units of reward.
    """

    def __init__(self, free: int, weight: float | Weight = 0.001) -> None:
        super().__init__(weight)
        if free < 0:
            raise ValueError(f"LengthPenalty: free: expected at least 0 tokens, got {free}")
        self.free = free

    def __call__(self, judged: Judged) -> Tensor:
        """-max(0, length - free), in tokens, shape [N]."""
        return -(judged.lengths_N - self.free).clamp(min=0).float()


class SoftOverlong(RewardTerm):
    """DAPO's soft overlong punishment (Yu et al. 2025, Eq. 13).

    0 up to ``longest - cache`` tokens, falling in a straight line to -1 at ``longest``, and -1 beyond it. What the
    length limit cut off is ``longest`` tokens long, unless a limit of its own is named here.

    Args:
        cache: L_cache, the tokens over which the punishment grows; at least 1.
        longest: L_max, in tokens, end token included; null takes ``model.sampling.max_new_tokens``.
        weight: what the whole punishment costs, in units of reward.
    """

    def __init__(self, cache: int, longest: int | None = None, weight: float | Weight = 1.0) -> None:
        super().__init__(weight)
        if cache < 1:
            raise ValueError(f"SoftOverlong: cache: expected at least 1 token, got {cache}")
        if longest is not None and longest < cache:
            raise ValueError(f"SoftOverlong: longest: expected at least cache ({cache}) tokens, got {longest}")
        self.cache = cache
        self.longest = longest

    def __call__(self, judged: Judged) -> Tensor:
        """((L_max - L_cache) - length) / L_cache within [-1, 0], shape [N].

        Raises:
            ValueError: L_cache is more than the length limit.
        """
        longest = judged.max_new_tokens if self.longest is None else self.longest
        if longest < self.cache:
            raise ValueError(
                f"SoftOverlong: cache: {self.cache} tokens are more than the longest completion has, {longest} "
                "(model.sampling.max_new_tokens); lower it"
            )
        beyond_N = longest - self.cache - judged.lengths_N
        return (beyond_N.float() / self.cache).clamp(-1.0, 0.0)
