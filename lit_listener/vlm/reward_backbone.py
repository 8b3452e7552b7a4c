"""A vision-language model with a linear head: one number for an image and its prompt.

The head reads the last hidden state of the message's last token, which has seen all of it. Head and pass belong to one
module with the weights, so that a sharded model gathers them as for every other pass. Scores have no unit and no zero:
only differences are trained, so there is no bias.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from PIL.Image import Image
from torch import Tensor, nn

from lit_listener.tasks.reward_question import RewardQuestion
from lit_listener.vlm.attention import grouped_attention
from lit_listener.vlm.backbone import Backbone
from lit_listener.vlm.encoding import PromptBatch, Reader
from lit_listener.vlm.image_cache import ImageCache
from lit_listener.vlm.loading import load
from lit_listener.vlm.passes import InPasses, Pass, at_once
from lit_listener.vlm.specs import PolicySpec


class Causal:
    """Rows that share nothing: a token sees what comes before it. Padding stands on the right, where nobody looks."""

    def attend(self, layer: int, query_BHQE: Tensor, key_BJQE: Tensor, value_BJQE: Tensor, scaling: float) -> Tensor:
        """Attention of one decoder layer. Returns ``[B, Q, H, E]``."""
        return grouped_attention(query_BHQE, key_BJQE, value_BJQE, scaling, None).transpose(1, 2)


class RewardBackbone(Backbone):
    """A backbone with a head, and a pass that rates.

    The head starts at zero: at first all images are level, and the first loss is log 2 exactly. It is kept and computed
    in float32. Of full weights that train, an output matrix of its own does not: nothing is written with it.

    Args:
        backbone: the model, which is taken over.
    """

    passes: ClassVar[tuple[str, ...]] = (*Backbone.passes, "rate")

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone.model, backbone.vocabulary, backbone.attention)
        width = backbone.model.config.get_text_config().hidden_size
        device = next(backbone.parameters()).device
        self.head = nn.Linear(width, 1, bias=False, dtype=torch.float32, device=device)
        nn.init.zeros_(self.head.weight)
        written_with = self.model.get_output_embeddings().weight
        if written_with is not self.model.get_input_embeddings().weight:
            written_with.requires_grad_(False)
        self.train(backbone.training)

    def rate(self, prompts: PromptBatch, features_MD: Tensor) -> Tensor:
        """Read P messages. Returns their scores ``[P]``, float32.

        Args:
            prompts: the messages.
            features_MD: image features of their images.
        """
        embedded = self._embed(prompts.input_ids_PS, features_MD)
        hidden_PSD = self._hidden(embedded, prompts.position_ids_3PS, Causal())
        last_P = prompts.lengths_P - 1
        hidden_PD = hidden_PSD[torch.arange(len(last_P), device=last_P.device), last_P]
        return (hidden_PD.float() @ self.head.weight.float().T).squeeze(1)


@dataclass(frozen=True)
class Rater:
    """A model that rates images, what reads for it, and how images are put before it."""

    policy: RewardBackbone
    reader: Reader
    question: RewardQuestion
    image_cache: ImageCache
    passes: InPasses = at_once
    """Cuts messages into passes that fit."""

    def asked(self, images: Sequence[tuple[str, Image]]) -> PromptBatch:
        """Word and encode messages, on the host.

        Args:
            images: prompt and image of each.
        """
        return self.reader.encoder.encode([self.question.encode(*each) for each in images])

    @torch.no_grad()
    def scores(self, images: Sequence[tuple[str, Image]]) -> Tensor:
        """The scores of N images, each for its prompt: ``[N]``, float32, higher is better. The policy is left in eval.

        Args:
            images: prompt and image of each; at least one.
        """
        self.policy.eval()
        encoded = self.asked(images)
        prompts = encoded.to(self.policy.device)
        features_MD = self.image_cache.features(self.policy, prompts, encoded.pixel_values_RC)

        def rate(each: Pass) -> Tensor:
            chosen = each.prompts
            return self.policy.rate(_cut(prompts.select(chosen)), prompts.features_of(chosen, features_MD))

        lengths = prompts.lengths_P.tolist()
        return self.passes(lambda passes: torch.cat([rate(each) for each in passes]), lengths, [1] * len(lengths))


def _cut(prompts: PromptBatch) -> PromptBatch:
    """Without the padding that only longer messages needed."""
    longest = int(prompts.lengths_P.max())
    return PromptBatch(
        input_ids_PS=prompts.input_ids_PS[:, :longest],
        mask_PS=prompts.mask_PS[:, :longest],
        position_ids_3PS=prompts.position_ids_3PS[..., :longest],
        next_position_P=prompts.next_position_P,
        pixel_values_RC=prompts.pixel_values_RC,
        image_grid_I3=prompts.image_grid_I3,
        images_P=prompts.images_P,
    )


@dataclass(frozen=True)
class LoadedReward:
    """A backbone with a head, what reads for it, and its adapter."""

    policy: RewardBackbone
    reader: Reader
    adapter: Any = None
    """The peft model around the policy's; None where it has no adapters."""


def load_reward(spec: PolicySpec, *, empty: bool = False, place: torch.device | None = None) -> LoadedReward:
    """Load the weights that a specification names, with a fresh head on them.

    Args:
        spec: what is asked for; with lora the head trains beside the adapters.
        empty: read no weights: those of rank 0 are to come, by ``sharding.shard``.
        place: where weights are put that are read into 4 bits.

    Raises:
        FileNotFoundError: a local folder does not exist.
        ValueError: the model's family is not supported, or the specification contradicts itself.
    """
    models = load(spec, None, empty=empty, place=place)
    return LoadedReward(RewardBackbone(models.policy), models.reader, models.adapter)
