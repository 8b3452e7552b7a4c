"""A reward model with a scalar head, trained on pairs: the model that reasoners are compared with.

Each image is read by itself with its prompt, and a linear head on the last token's hidden state gives it a score; the
loss is the Bradley-Terry model's (ImageReward, Xu et al. 2023, Eq. 1; HPSv3 is of this kind too). There is no thought
and no answer, so validation and test record the probability sigmoid(s_second - s_first) alone, as of any scorer.
What is left out: HPSv3's uncertainty (a mean and a variance for each image).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from PIL.Image import Image
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from lit_listener.data.records import Side
from lit_listener.data.shown import Demonstration, ShownPair
from lit_listener.evaluation.prediction import Prediction
from lit_listener.objective import bradley_terry_loss
from lit_listener.tasks.reward_question import RewardQuestion
from lit_listener.training.label_targets import LabelTargets, chosen_of, majority_share, votes_share
from lit_listener.training.memory_options import Memory
from lit_listener.training.schedule import Schedule
from lit_listener.training.scorer_judge import image_place, scored_row
from lit_listener.training.trained_module import TrainedModule
from lit_listener.vlm import ranks
from lit_listener.vlm.loading import PolicySpec
from lit_listener.vlm.reward_backbone import Rater, RewardBackbone, load_reward
from lit_listener.vlm.reward_files import reward_files
from lit_listener.vlm.sharding import Sharding


class BradleyTerryReward(TrainedModule):
    """Learns a score for an image and its prompt from pairs that people chose between.

    A batch is one pass over two images a pair, which ``data.batch_size`` bounds; ``memory.max_tokens_per_pass`` holds
    in validation and test.

    Args:
        policy: which weights training starts from and which train; the head trains beside them.
        question: how an image and its prompt are put before the model.
        labels: majority learns that the preferred image is the better one; votes learns the share of the votes.
        optimizer: makes the optimizer from the trainable parameters.
        schedule: learning rate over optimizer steps.
        gradient_clip_norm: gradients are scaled down to this norm; above 0, or inf for no clipping.
        memory: how a step is cut to the memory there is.
        sharding: how weights are computed with that ModelParallelStrategy spreads over several GPUs.
    """

    policy: RewardBackbone

    def __init__(
        self,
        policy: PolicySpec,
        question: RewardQuestion | None = None,
        labels: LabelTargets = "majority",
        optimizer: OptimizerCallable = torch.optim.AdamW,
        schedule: Schedule = Schedule(),  # noqa: B008  # frozen
        gradient_clip_norm: float = 1.0,
        memory: Memory = Memory(),  # noqa: B008  # frozen
        sharding: Sharding = Sharding(),  # noqa: B008  # frozen
    ) -> None:
        super().__init__(policy, optimizer, schedule, gradient_clip_norm, memory, sharding)
        self.question = question or RewardQuestion()
        self.share_second = chosen_of({"majority": majority_share, "votes": votes_share}, labels)

    def _load(self, mesh: DeviceMesh | None) -> None:
        if mesh is not None and self.policy_spec.dtype != "float32":
            raise ValueError(
                f"model.policy.dtype: sharded weights are kept in one number format, and the head's is float32, got "
                f"{self.policy_spec.dtype}; set it to float32, and model.sharding.compute_dtype to bfloat16"
            )
        loaded = load_reward(self.policy_spec, empty=mesh is not None and ranks.rank() > 0)
        self.policy, self.reader, self.adapter = loaded.policy, loaded.reader, [loaded.adapter]  # no second child
        self.trainable = [name for name, p in self.named_parameters() if p.requires_grad]
        self.saved_names = list(self.trainable)
        self.shard_part(self, mesh)

    def model_files(self, config: Path) -> Mapping[str, str | bytes]:
        """The head, and how images are put before the model."""
        return reward_files(self.policy, self.question)

    @property
    def rater(self) -> Rater:
        """The model as it is asked, with the module's options as they are now."""
        return Rater(self.policy, self.reader, self.question, self.image_cache, self.budget)

    # ---- training ------------------------------------------------------------------------------------------------

    def training_step(self, batch: Sequence[ShownPair], batch_idx: int) -> Tensor:
        """The mean Bradley-Terry loss of a batch of pairs."""
        if isinstance(batch[0], Demonstration):
            raise ValueError(  # noqa: TRY004  # an option is one too many, no argument has a wrong type
                "data.traces: a reward model writes nothing and learns from no thoughts; leave it out"
            )
        share_P = torch.tensor([self.share_second(shown) for shown in batch], device=self.device)
        scores_P2 = self.scores(batch)
        loss = bradley_terry_loss(scores_P2, share_P).mean()  # as many pairs on every rank
        with torch.no_grad():
            margin_P = (scores_P2[:, 1] - scores_P2[:, 0]) * (2 * (share_P > 0.5).float() - 1)
            decided = share_P != 0.5
            noted = {
                "bradley_terry/accuracy": (margin_P > 0)[decided].float().sum() / decided.sum().clamp(min=1),
                "bradley_terry/margin": margin_P[decided].sum() / decided.sum().clamp(min=1),
            }
        several = ranks.world_size() > 1
        self.log("bradley_terry/loss", loss, prog_bar=True, batch_size=len(batch), sync_dist=several)
        self.log_dict(noted, batch_size=len(batch), sync_dist=several)
        return loss

    def scores(self, shown: Sequence[ShownPair]) -> Tensor:
        """The scores of P pairs' images in displayed order, from one pass with gradients: ``[P, 2]``."""
        rater = self.rater
        encoded = rater.asked([(each.pair.prompt, image) for each in shown for image in each.images])
        prompts = encoded.to(self.device)
        self.policy.train()
        if self.policy_spec.train_vision:
            features_MD = self.policy.image_features(prompts)
        else:
            with torch.no_grad():
                features_MD = self.image_cache.features(self.policy, prompts, encoded.pixel_values_RC)
        return self.policy.rate(prompts, features_MD).view(-1, 2)

    def configure_gradient_clipping(self, *args: object, **kwargs: object) -> None:
        """Clip to ``gradient_clip_norm``, so that all kinds of training read one option."""
        self.log("bradley_terry/grad_norm", self.clip_to_norm())

    # ---- judging -------------------------------------------------------------------------------------------------

    def judge(self, shown: Sequence[ShownPair], source: str = "") -> list[Prediction]:
        """A row for each pair that counts; each image of a pair or list is scored once, whatever the batch.

        Raises:
            ValueError: a score is not finite.
        """
        places: dict[Any, int] = {}
        images: list[tuple[str, Image]] = []
        of_pairs = []
        for each in shown:
            sides: tuple[Side, Side] = ("a", "b") if each.first == "a" else ("b", "a")
            known = [image_place(each.pair, side) for side in sides]
            for place, image in zip(known, each.images, strict=True):
                if place not in places:
                    places[place] = len(images)
                    images.append((each.pair.prompt, image))
            of_pairs.append([places[place] for place in known])
        scores = self.rater.scores(images).tolist()
        return [
            scored_row(each, scores[first], scores[second], source)
            for each, (first, second) in zip(shown, of_pairs, strict=True)
            if each.counted  # those that do not are scored all the same: ranks make as many passes
        ]
