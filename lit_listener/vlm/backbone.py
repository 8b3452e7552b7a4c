"""One wrapper module through which every forward pass of a vision-language model goes.

Image features, prefill, decoding and packed scoring are methods of one ``nn.Module``, so that a sharded model gathers
its weights for each of them: nothing outside this file touches weights. Logits are computed at the places that are
asked for, in chunks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lit_listener.objective import completion_log_probs, label_logits
from lit_listener.vlm.attention import Pattern, use_patterns
from lit_listener.vlm.completions import padded_tokens
from lit_listener.vlm.encoding import PromptBatch, Vocabulary
from lit_listener.vlm.group_cache import GroupCache
from lit_listener.vlm.packed_attention import AttentionName, packed_pattern
from lit_listener.vlm.packing import PackedBatch

LabelIds = tuple[tuple[int, ...], ...]
_LOGITS_PER_CHUNK = 2**26
"""Float32 logits held at once (256 MiB): 441 tokens of a vocabulary of 152,064."""
SUPPORTED_FAMILIES = ("qwen2_5_vl", "qwen2_vl", "qwen3_vl")


def check_family(name: str, family: str) -> None:
    """Refuse a model whose images enter the language model in a way that is not known here.

    Raises:
        ValueError: the family is not supported.
    """
    if family not in SUPPORTED_FAMILIES:
        raise ValueError(
            f"{name}: model family {family!r} is not supported; expected one of {SUPPORTED_FAMILIES}: name a model "
            "of these. Each family feeds images to its language model in a way of its own, and another would be read "
            "wrongly in silence"
        )


@dataclass(frozen=True)
class Scores:
    """What one packed pass reads: the completions' log-probabilities and the answer labels' soft scores."""

    log_probs_NT: Tensor
    """Temperature-scaled, special tokens suppressed: the distribution that was sampled from."""
    entropy_NT: Tensor
    label_logits_NL: Tensor
    """Unscaled, nothing suppressed, at each completion's answer place; meaningless where it has none."""
    discarded_mass_N: Tensor
    """Probability at the answer place of all tokens that are no label."""

    @classmethod
    def joined(cls, parts: Sequence["Scores"], longest: int) -> "Scores":
        """The scores of several passes one after another, each padded to as many tokens as the longest completion."""
        names = [field.name for field in fields(cls)]
        padded = [
            {n: padded_tokens(getattr(part, n), longest) if n.endswith("_NT") else getattr(part, n) for n in names}
            for part in parts
        ]
        return cls(**{name: torch.cat([part[name] for part in padded]) for name in names})


@dataclass(frozen=True)
class Likeliest:
    """The likeliest tokens at R places of completions: unscaled, nothing suppressed."""

    ids_RK: Tensor
    log_probs_RK: Tensor
    own_log_probs_R: Tensor
    """Of the tokens that stand there."""


class Backbone(nn.Module):
    """A vision-language model behind four named passes.

    Args:
        model: a ``*ForConditionalGeneration`` of a supported family.
        vocabulary: its vocabulary facts.
        attention: how packed rows are attended to (see ``packed_attention``).

    Raises:
        ValueError: the family is not supported (its image features enter the language model in another way), or its
            layers do not attend to all that came before.
    """

    passes: ClassVar[tuple[str, ...]] = ("image_features", "prefill", "decode", "score")
    """Methods that compute with weights: a sharded model gathers its own for each of them."""

    def __init__(self, model: Any, vocabulary: Vocabulary, attention: AttentionName = "sdpa") -> None:
        super().__init__()
        check_family(type(model).__name__, model.config.model_type)
        self.model = model
        self.vocabulary = vocabulary
        self.attention: AttentionName = attention
        use_patterns(self.language_model)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def language_model(self) -> nn.Module:
        """The decoder layers."""
        return self.model.model.language_model  # type: ignore[no-any-return]

    @property
    def vision_tower(self) -> nn.Module:
        """The image encoder."""
        return self.model.model.visual  # type: ignore[no-any-return]

    def layers(self) -> list[nn.Module]:
        """The decoder layers and the vision tower's blocks: what is worth sharding one by one."""
        return [*self.language_model.layers, *getattr(self.vision_tower, "blocks", ())]  # type: ignore[misc]

    def drop_vision(self) -> None:
        """Leave image features to another backbone with the same vision tower."""
        self.model.model.visual = None

    def image_features(self, prompts: PromptBatch) -> Tensor:
        """Encode the images of a batch: one row an image token, in order.

        Returns:
            features ``[M, D]``. A model that adds features of its images in several decoder layers (Qwen3-VL's
            DeepStack) has those of each further layer beside them: ``[M, D + D x layers]``.
        """
        encoded = self.model.model.get_image_features(prompts.pixel_values_RC, prompts.image_grid_I3)
        levels = [encoded.pooler_output, *(getattr(encoded, "deepstack_features", None) or ())]
        return torch.cat([torch.cat(tuple(images), 0) for images in levels], 1)

    def prefill(self, prompts: PromptBatch, features_MD: Tensor, cache: GroupCache) -> Tensor:
        """Read P prompts once, into an empty cache. Returns logits ``[P, V]`` after each prompt's last token."""
        hidden_PSD = self._hidden(
            self._embed(prompts.input_ids_PS, features_MD), prompts.position_ids_3PS, cache.prompts()
        )
        last_P = prompts.lengths_P - 1
        return self.model.lm_head(hidden_PSD[torch.arange(len(last_P), device=last_P.device), last_P])  # type: ignore[no-any-return]

    def decode(self, ids_N: Tensor, positions_N: Tensor, cache: GroupCache) -> Tensor:
        """One more token for each of N rows, which the cache takes in. Returns logits ``[N, V]``."""
        embedded = {"inputs_embeds": self.model.get_input_embeddings()(ids_N[:, None])}
        hidden_N1D = self._hidden(embedded, positions_N[None, :, None].expand(3, -1, 1), cache.step())
        cache.written_1 += 1
        return self.model.lm_head(hidden_N1D[:, -1])  # type: ignore[no-any-return]

    def score(
        self,
        packed: PackedBatch,
        features_MD: Tensor,
        *,
        temperature: float = 1.0,
        answer_place_N: Tensor | None = None,
        label_ids: LabelIds = (),
    ) -> Scores:
        """Log-probabilities of packed completions, and their answer labels' soft scores, from one pass.

        Args:
            packed: the packed rows.
            features_MD: image features of the rows' images.
            temperature: what logits were divided by in sampling.
            answer_place_N: each completion's answer token (any valid index where it has none); None reads no labels.
            label_ids: token ids of each label's spellings.
        """
        hidden_PKD = self._hidden(
            self._embed(packed.input_ids_PK, features_MD),
            packed.position_ids_3PK,
            packed_pattern(self.attention, packed, self._heads_per_key),
        )
        rows_N = torch.arange(len(packed.source_NT), device=hidden_PKD.device) // (
            len(packed.source_NT) // len(hidden_PKD)
        )
        hidden_NTD = hidden_PKD[rows_N[:, None], packed.source_NT]
        weight_VD = self.model.lm_head.weight
        log_probs, entropy = completion_log_probs(
            hidden_NTD,
            weight_VD,
            packed.targets_NT,
            temperature=temperature,
            suppressed_ids=self.vocabulary.suppressed_ids.to(hidden_NTD.device),
            chunk_tokens=max(1, _LOGITS_PER_CHUNK // weight_VD.shape[0]),
            vocabulary_size=self.vocabulary.size,
        )
        if answer_place_N is None:
            empty = log_probs.new_zeros(len(log_probs), 0)
            return Scores(log_probs, entropy, empty, empty.sum(1))
        hidden_ND = hidden_NTD[torch.arange(len(hidden_NTD), device=hidden_NTD.device), answer_place_N]
        return Scores(log_probs, entropy, *label_logits(hidden_ND, weight_VD, label_ids))

    def likeliest(
        self, packed: PackedBatch, features_MD: Tensor, *, rows_R: Tensor, places_R: Tensor, count: int
    ) -> Likeliest:
        """The likeliest tokens at some places of packed completions, from one pass.

        Args:
            packed: the packed rows.
            features_MD: image features of the rows' images.
            rows_R: completions.
            places_R: a token of each; what is told is predicted there, having read none of it.
            count: K, tokens told of; fewer where the vocabulary has no more.

        Raises:
            FloatingPointError: logits are NaN or infinite.
        """
        hidden_PKD = self._hidden(
            self._embed(packed.input_ids_PK, features_MD),
            packed.position_ids_3PK,
            packed_pattern(self.attention, packed, self._heads_per_key),
        )
        group = len(packed.source_NT) // len(hidden_PKD)
        hidden_RD = hidden_PKD[rows_R // group, packed.source_NT[rows_R, places_R]]
        parts = []
        chunk = max(1, _LOGITS_PER_CHUNK // self.model.lm_head.weight.shape[0])
        for hidden, own in zip(hidden_RD.split(chunk), packed.targets_NT[rows_R, places_R].split(chunk), strict=True):
            log_probs_rV = self.model.lm_head(hidden).float().log_softmax(-1)
            if not bool(log_probs_rV.isfinite().all()):
                raise FloatingPointError("the model's logits are NaN or infinite: its weights are no use here")
            top = log_probs_rV[:, : self.vocabulary.size].topk(min(count, self.vocabulary.size))
            parts.append((top.indices, top.values, log_probs_rV.gather(1, own[:, None]).squeeze(1)))
        return Likeliest(*(torch.cat(each) for each in zip(*parts, strict=True)))

    def _hidden(self, inputs: dict[str, Any], positions_3BQ: Tensor, pattern: Pattern) -> Tensor:
        """The last hidden states ``[B, Q, D]`` of tokens that see each other as the pattern says."""
        embedded = inputs["inputs_embeds"]
        unread = torch.ones(len(embedded), 1, 1, 1, dtype=torch.bool, device=embedded.device)
        return self.language_model(  # type: ignore[no-any-return]
            **inputs,
            attention_mask=unread,  # in place of one that the model would make
            position_ids=positions_3BQ,
            use_cache=False,
            pattern=pattern,
        ).last_hidden_state

    @property
    def _heads_per_key(self) -> int:
        config = self.model.model.language_model.config
        return config.num_attention_heads // config.num_key_value_heads  # type: ignore[no-any-return]

    def _embed(self, ids_PK: Tensor, features_MD: Tensor) -> dict[str, Any]:
        """What the language model reads: token embeddings with image features in the image slots.

        Features of further decoder layers go along with the slots that they are added to.
        """
        embedded: Tensor = self.model.get_input_embeddings()(ids_PK)
        slots = ids_PK == self.model.config.image_token_id
        if int(slots.sum()) != len(features_MD):
            raise ValueError(f"{int(slots.sum())} image slots for {len(features_MD)} image features")
        width = embedded.shape[-1] * (1 + len(getattr(self.model.config.vision_config, "deepstack_visual_indexes", ())))
        if features_MD.shape[1] != width:
            raise ValueError(
                f"image features must be {width} wide, all layers' side by side, got {features_MD.shape[1]}"
            )
        first_MD, *further = features_MD.to(embedded.dtype).split(embedded.shape[-1], 1)
        inputs: dict[str, Any] = {"inputs_embeds": embedded.masked_scatter(slots[..., None], first_MD)}
        if further:
            inputs |= {"visual_pos_masks": slots, "deepstack_visual_embeds": further}
        return inputs
