"""The plain engine: ``transformers.generate``, one row a completion, prompt and images read for each.

It is there to compare with: the same streams give the same completions as the in-process engine, token for token.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.encoding import PromptBatch
from lit_listener.vlm.rollout.engine import (
    Draw,
    RolloutEngine,
    Sampler,
    completions_of,
    refuse_no_numbers,
    refuse_training_mode,
    uniforms_on,
)
from lit_listener.vlm.sharding import is_sharded
from lit_listener.vlm.streams import uniforms


class TransformersRollout(RolloutEngine):
    """Draws completions by ``transformers.generate``: slow, and nobody's own code."""

    def prompt_copies(self, group_size: int) -> int:
        """One for each completion."""
        return group_size

    @torch.no_grad()
    def draw(self, backbone: Backbone, prompts: PromptBatch, features_MD: Tensor, asked: Draw) -> Completions:
        """Draw G completions for each of P prompts; see ``RolloutEngine``. The image features are made anew.

        Raises:
            ValueError: the policy's weights are sharded, which ``generate`` does not know.
        """
        refuse_training_mode(backbone)
        if is_sharded(backbone):
            raise ValueError("model.engine: TransformersRollout needs whole weights; use GroupedRollout with sharding")
        sampled = _Sampled(backbone, len(prompts), asked, prompts.input_ids_PS.device)
        inputs = _repeated(prompts, asked.group_size, backbone.model.config.image_token_id)
        backbone.model.generate(
            **inputs,
            generation_config=GenerationConfig(
                max_new_tokens=asked.sampling.max_new_tokens,
                do_sample=False,  # the processor leaves one token to choose
                repetition_penalty=1.0,
                eos_token_id=list(backbone.vocabulary.end_ids),
                pad_token_id=backbone.vocabulary.pad_id,
            ),
            logits_processor=LogitsProcessorList([sampled]),
            stopping_criteria=StoppingCriteriaList([_GivenUp(sampled, asked.hopeless)]),
        )
        return sampled.completions()


class _Sampled(LogitsProcessor):
    """Draws every token, keeps it, and leaves ``generate`` no choice but to take it."""

    def __init__(self, backbone: Backbone, prompts: int, asked: Draw, device: torch.device) -> None:
        length, rows = asked.sampling.max_new_tokens, prompts * asked.group_size
        self.sampler = Sampler(backbone.vocabulary, asked.sampling.temperature)
        drawn_NT = uniforms(asked.sampling.seed, asked.keys, asked.group_size, length, first=asked.first)
        self.uniforms_NT = uniforms_on(device, drawn_NT)
        self.label_ids = [list(spellings) for spellings in asked.label_ids]
        self.vocabulary = backbone.vocabulary
        self.ids_NT = torch.full((rows, length), backbone.vocabulary.pad_id, device=device)
        self.labels_NTL = torch.zeros(rows, length, len(asked.label_ids), device=device)
        self.cut_at_N = torch.full((rows,), length, device=device)
        self.ended_N = torch.zeros(rows, dtype=torch.bool, device=device)
        self.drawn = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        refuse_no_numbers(bool(scores.isfinite().all()))
        tokens_N = self.sampler(scores, self.uniforms_NT[:, self.drawn])
        running_N = ~self.ended_N
        self.ids_NT[running_N, self.drawn] = tokens_N[running_N]
        for label, spellings in enumerate(self.label_ids):
            self.labels_NTL[running_N, self.drawn, label] = scores[running_N][:, spellings].float().logsumexp(1)
        self.ended_N |= torch.isin(tokens_N, torch.tensor(self.vocabulary.end_ids, device=tokens_N.device))
        self.drawn += 1
        return torch.full_like(scores, float("-inf")).scatter(1, tokens_N[:, None], 0.0)

    def completions(self) -> Completions:
        return completions_of(self.ids_NT, self.labels_NTL, self.ended_N, self.cut_at_N, self.vocabulary)


class _GivenUp(StoppingCriteria):
    """Ends the completions that nothing can save any more."""

    def __init__(self, sampled: _Sampled, hopeless: Callable[[list[int]], bool] | None) -> None:
        self.sampled = sampled
        self.hopeless = hopeless

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        sampled = self.sampled
        if self.hopeless is not None and sampled.drawn < sampled.ids_NT.shape[1]:
            for row in (~sampled.ended_N).nonzero().flatten().tolist():
                if self.hopeless(sampled.ids_NT[row, : sampled.drawn].tolist()):
                    sampled.ended_N[row] = True
                    sampled.cut_at_N[row] = sampled.drawn
        return sampled.ended_N


def _repeated(prompts: PromptBatch, group_size: int, image_id: int) -> dict[str, Tensor]:
    """Every prompt and its images G times, padded on the left, as ``generate`` wants them."""
    longest = prompts.input_ids_PS.shape[1]
    parts = [prompts.select(slice(p, p + 1)) for p in range(len(prompts))]
    # padding goes from the end to the beginning
    place_PS = (torch.arange(longest, device=prompts.mask_PS.device) - (longest - prompts.lengths_P[:, None])) % longest
    ids_PS, mask_PS = prompts.input_ids_PS.gather(1, place_PS), prompts.mask_PS.gather(1, place_PS)
    ids_NS, mask_NS = (given.repeat_interleave(group_size, 0) for given in (ids_PS, mask_PS))
    return {
        "input_ids": ids_NS,
        "attention_mask": mask_NS.long(),
        "mm_token_type_ids": ((ids_NS == image_id) & mask_NS).int(),
        "pixel_values": torch.cat([part.pixel_values_RC for part in parts for _ in range(group_size)]),
        "image_grid_thw": torch.cat([part.image_grid_I3 for part in parts for _ in range(group_size)]),
    }
