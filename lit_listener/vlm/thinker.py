"""A model that is asked about images and thinks aloud: the named steps that training, testing and judging are made of.

Ask, roll out, read, score. What is random is keyed by the questions' item keys alone (``streams``), so that no step's
result depends on what else is asked with it.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_listener.data.shown import Shown
from lit_listener.tasks import Task, Transcript
from lit_listener.vlm import ranks
from lit_listener.vlm.asked import Asked, packed_scores
from lit_listener.vlm.backbone import Backbone, LabelIds, Scores
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.encoding import Reader
from lit_listener.vlm.image_cache import ImageCache
from lit_listener.vlm.passes import InPasses, Pass, at_once
from lit_listener.vlm.rollout import RolloutEngine, Sampling
from lit_listener.vlm.rollout.engine import Draw
from lit_listener.vlm.sharding import Sharding, gathered_weights, is_sharded
from lit_listener.vlm.streams import ItemKey


@dataclass(frozen=True)
class Thinker:
    """A policy, what reads for it, the question it is asked, and how it is computed."""

    policy: Backbone
    reader: Reader
    task: Task
    label_ids: LabelIds
    """Token ids of each answer label's spellings."""
    sampling: Sampling
    engine: RolloutEngine
    image_cache: ImageCache
    passes: InPasses = at_once
    """Cuts scoring into packed passes that fit."""
    rollout_passes: InPasses = at_once
    """Cuts rollouts likewise."""
    sharding: Sharding = Sharding()  # noqa: RUF009  # frozen

    def ask(self, shown: Sequence[Shown], keys: list[ItemKey]) -> Asked:
        """Word the questions, encode them, and encode their images (once, where the vision tower is frozen)."""
        questions = [self.task.encode(each) for each in shown]
        encoded = self.reader.encoder.encode(questions, room=self.sampling.max_new_tokens)
        prompts = encoded.to(self.policy.device)
        with torch.no_grad():
            features_MD = self.image_cache.features(self.policy, prompts, encoded.pixel_values_RC)
        return Asked(shown, keys, [question.label for question in questions], prompts, features_MD)

    def roll_out(
        self, asked: Asked, group_size: int, hopeless: Callable[[Sequence[int]], bool] | None = None
    ) -> Completions:
        """Sample a group of completions for each question, as many at once as there is memory for.

        Args:
            asked: P questions.
            group_size: G, completions of each.
            hopeless: whether a completion that begins with these token ids is to be ended; None ends none.
        """
        self.policy.eval()
        gathers_each_time = is_sharded(self.policy) and not self.sharding.gather_for_rollout

        def draw(each: Pass) -> Completions:
            part = asked.select(each.prompts)
            wanted = Draw(
                group_size=(each.rows.stop - each.rows.start) // len(part.shown),
                sampling=self.sampling,
                keys=part.keys,
                label_ids=self.label_ids,
                first=each.rows.start - each.prompts.start * group_size,
                hopeless=hopeless,
                anywhere=ranks.any_rank if gathers_each_time else None,
            )
            return self.engine.draw(self.policy, part.prompts, part.features_MD, wanted)

        longest = [self.sampling.max_new_tokens] * len(asked.shown) * group_size
        with gathered_weights(self.policy) if self.sharding.gather_for_rollout else contextlib.nullcontext():
            parts = self.rollout_passes(
                lambda passes: [draw(each) for each in passes], asked.prompts.lengths_P.tolist(), longest
            )
        return Completions.joined(parts, self.policy.vocabulary.pad_id)

    def read(self, completions: Completions) -> list[Transcript]:
        """Parse every completion."""
        return [
            self.task.parse(self.reader.token_bytes(ids), truncated=truncated)
            for ids, truncated in zip(completions.content_ids(), completions.truncated_N.tolist(), strict=True)
        ]

    def scores(self, backbone: Backbone, asked: Asked, completions: Completions, places_N: Tensor) -> Scores:
        """Packed passes of a model over completions, which read the labels at these places.

        Args:
            backbone: the policy, or another model that reads the same tokens.
            asked: P questions, with that model's own image features.
            completions: N = P x G completions.
            places_N: the answer token of each (any valid index where there is none).
        """

        def score(each: Pass) -> Scores:
            return packed_scores(
                backbone,
                asked,
                completions,
                each,
                self.sampling.temperature,
                answer_place_N=places_N[each.rows],
                label_ids=self.label_ids,
            )

        lengths = asked.prompts.lengths_P.tolist(), completions.lengths_N.tolist()
        parts = self.passes(lambda passes: [score(each) for each in passes], *lengths)
        return Scores.joined(parts, completions.ids_NT.shape[1])

    def written(self, rows: Sequence[Sequence[int]]) -> tuple[Completions, Tensor]:
        """Token ids that lead up to an answer, as completions with one more token at the answer's place.

        That token's own identity is not read, only what is predicted there.

        Returns:
            the completions, and each one's answer place ``[N]``.
        """
        pad = self.policy.vocabulary.pad_id
        places_N = torch.tensor([len(row) for row in rows], device=self.policy.device)
        return Completions.from_ids([[*row, pad] for row in rows], pad).to(self.policy.device), places_N
