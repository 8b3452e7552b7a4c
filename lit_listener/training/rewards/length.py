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
        cache: L_cache, the tokens over which the punishment grows; at least 1. Null takes a fifth of L_max, as the
            paper does (4,096 of 20,480).
        longest: L_max, in tokens, end token included; null takes ``model.sampling.max_new_tokens``.
        weight: what the whole punishment costs, in units of reward.
    """

    def __init__(self, cache: int | None = None, longest: int | None = None, weight: float | Weight = 1.0) -> None:
        super().__init__(weight)
        if cache is not None and cache < 1:
            raise ValueError(f"SoftOverlong: cache: expected at least 1 token, got {cache}")
        if longest is not None and longest < (cache or 1):
            raise ValueError(f"SoftOverlong: longest: expected at least cache ({cache or 1}) tokens, got {longest}")
        self.cache = cache
        self.longest = longest

    def __call__(self, judged: Judged) -> Tensor:
        """((L_max - L_cache) - length) / L_cache within [-1, 0], shape [N].

        Raises:
            ValueError: L_cache is more than the length limit.
        """
        longest = judged.max_new_tokens if self.longest is None else self.longest
        cache = max(1, round(longest / 5)) if self.cache is None else self.cache
        if longest < cache:
            raise ValueError(
                f"SoftOverlong: cache: {cache} tokens are more than the longest completion has, {longest} "
                "(model.sampling.max_new_tokens); lower it"
            )
        beyond_N = longest - cache - judged.lengths_N
        return (beyond_N.float() / cache).clamp(-1.0, 0.0)
