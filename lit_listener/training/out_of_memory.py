"""A token budget for packed passes that is lowered once, where a GPU runs out of memory, and says so.

Work that is done in passes (``InPasses``) begins again with smaller ones, which changes no result: an update's
gradients are then gathered anew. What was found out is kept for the rest of the process and is no part of a checkpoint:
a run may go on where there is more memory.
"""

from collections.abc import Callable, Sequence

import torch
from lightning.pytorch.utilities import rank_zero_warn

from lit_listener.vlm import ranks
from lit_listener.vlm.passes import Done, Pass, cut_passes, tokens_of

_PASSES = "model.memory.max_tokens_per_pass"
_SMALLER = (
    "or make prompts and completions shorter (model.policy.max_pixels, model.sampling.max_new_tokens), or free memory "
    "(model.policy.gradient_checkpointing: true, adapters in place of full weights)"
)


class TokenBudget:
    """Most tokens of a pass: of policy, reference and listener, one object for all three, or of a rollout.

    Args:
        limit: tokens, padding included; None takes all at once.
        flag: the option that sets it.
    """

    def __init__(self, limit: int | None = None, flag: str = _PASSES) -> None:
        self.limit = limit
        self.flag = flag
        self.lowered_from: int | None = None
        """Tokens of the pass that did not fit; None as long as all have fitted."""

    def __call__(
        self,
        work: Callable[[Sequence[Pass]], Done],
        prompt_lengths_P: Sequence[int],
        completion_lengths_N: Sequence[int],
    ) -> Done:
        """Do work in passes within the budget; where memory runs out, halve it and begin the work again, once.

        All ranks make the same number of passes, so all of them must call this as often. One that has too little to
        cut (an evaluation's lists are of unequal length) makes its last pass again, and what comes of it is dropped.

        Args:
            work: what to do in the passes it is given; called a second time, it must begin afresh.
            prompt_lengths_P: tokens of each prompt.
            completion_lengths_N: tokens of each completion, groups side by side.

        Raises:
            torch.OutOfMemoryError: the halved budget does not fit either, or a pass is one completion already, or
                other ranks are waiting in the middle of the work.
        """
        tried, idle = self._cut(prompt_lengths_P, completion_lengths_N)
        tokens = max(tokens_of(each, prompt_lengths_P, completion_lengths_N) for each in tried)
        try:
            done = work(tried)
            for _ in range(idle):
                work(tried[-1:])
            return done
        except torch.OutOfMemoryError as error:
            finer = cut_passes(prompt_lengths_P, completion_lengths_N, _half(tokens))
            reason = self._why_not_again(tokens, can_be_cut=len(finer) > len(tried))
            if reason is not None:
                raise torch.OutOfMemoryError(reason) from error
        # Not before here: the error keeps the frames of the pass that failed, and they its tensors.
        rank_zero_warn(
            f"out of memory in passes of up to {tokens:,} tokens: {self.flag} is lowered from "
            f"{'null' if self.limit is None else f'{self.limit:,}'} to {_half(tokens):,} for the rest of the run, and "
            "what was computed in these passes is computed again; set it so from the start to spare the next run that"
        )
        self.limit, self.lowered_from = _half(tokens), tokens
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return self(work, prompt_lengths_P, completion_lengths_N)

    def _cut(self, prompt_lengths_P: Sequence[int], completion_lengths_N: Sequence[int]) -> tuple[list[Pass], int]:
        """This rank's passes, and how many more the other ranks make."""
        passes = cut_passes(prompt_lengths_P, completion_lengths_N, self.limit)
        most = ranks.longest(len(passes))
        passes = cut_passes(prompt_lengths_P, completion_lengths_N, self.limit, at_least=most)
        return passes, most - len(passes)

    def _why_not_again(self, tokens: int, *, can_be_cut: bool) -> str | None:
        """Why the work cannot begin again, and what to do; None where it can."""
        if ranks.world_size() > 1:
            return (
                f"out of memory in passes of up to {tokens:,} tokens on rank {ranks.rank()}: with several "
                "processes none can begin again alone, since the others wait for it; set "
                f"{self.flag} to {_half(tokens):,} or less, {_SMALLER}"
            )
        if self.lowered_from is not None:
            return (
                f"out of memory again, in passes of up to {tokens:,} tokens, after passes of "
                f"{self.lowered_from:,} had not fitted either; set {self.flag} to {_half(tokens):,} or less, {_SMALLER}"
            )
        if not can_be_cut:
            return (
                f"out of memory in passes of up to {tokens:,} tokens, and a completion with its prompt cannot "
                f"be cut: lower {self.flag} if it is not the longest pass that fails, {_SMALLER}"
            )
        return None


def _half(tokens: int) -> int:
    return max(1, tokens // 2)
