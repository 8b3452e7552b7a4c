"""A vision-language policy with its frozen reference and its listener: set-up, checkpoints, and the named steps.

The steps are what training and judging are made of: ask, roll out, read, score by the reference, let the listener hear.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from lit_listener.data.shown import Shown
from lit_listener.tasks import PairwisePreference, Task, Transcript
from lit_listener.training.memory_options import Memory
from lit_listener.training.out_of_memory import TokenBudget
from lit_listener.training.reference_use import counterparts, is_read
from lit_listener.training.schedule import Schedule
from lit_listener.training.trained_module import TrainedModule
from lit_listener.vlm import ranks
from lit_listener.vlm.asked import Asked
from lit_listener.vlm.backbone import Backbone, Scores
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.encoding import label_token_ids
from lit_listener.vlm.listeners import Heard, Hearing, Listener, ReferenceListener, Rescored
from lit_listener.vlm.loading import Models, PolicySpec, ReferenceName, load
from lit_listener.vlm.rollout import GroupedRollout, RolloutEngine, Sampling
from lit_listener.vlm.sharding import Sharding
from lit_listener.vlm.streams import ItemKey
from lit_listener.vlm.thinker import Thinker


class PolicyModule(TrainedModule):
    """Policy, frozen reference and listener, and what training and judging share.

    Args:
        policy: which weights the policy starts from and which train.
        task: the question asked and how answers are read.
        sampling: how completions are drawn, in training and in evaluation.
        reference: what the frozen reference is: base (the model without adapters) or start (where the policy starts).
        listener: who hears the thoughts; by default the reference, which costs no pass of its own.
        optimizer: makes the optimizer from the trainable parameters.
        schedule: learning rate over optimizer steps.
        gradient_clip_norm: gradients are scaled down to this norm; above 0, or inf for no clipping.
        memory: how a step is cut to the memory there is.
        sharding: how weights are computed with that ModelParallelStrategy spreads over several GPUs.
        engine: what draws completions; by default GroupedRollout, in this process.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # one option each keeps a config flat
        self,
        policy: PolicySpec,
        task: Task | None = None,
        sampling: Sampling = Sampling(),  # noqa: B008  # frozen
        reference: ReferenceName = "base",
        listener: Listener | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        schedule: Schedule = Schedule(),  # noqa: B008  # frozen
        gradient_clip_norm: float = 1.0,
        memory: Memory = Memory(),  # noqa: B008  # frozen
        sharding: Sharding = Sharding(),  # noqa: B008  # frozen
        engine: RolloutEngine | None = None,
    ) -> None:
        super().__init__(policy, optimizer, schedule, gradient_clip_norm, memory, sharding)
        self.task: Task = task or PairwisePreference()
        self.sampling = sampling
        self.reference_name: ReferenceName = reference
        self.listener = listener or ReferenceListener()
        self.engine = engine or GroupedRollout()
        self.rollout_budget = TokenBudget(memory.max_rollout_tokens, "model.memory.max_rollout_tokens")
        self.models: Models | None = None

    # ---- set-up -------------------------------------------------------------------------------------------------

    @property
    def wants_reference(self) -> bool:
        """Whether anything reads the reference; where nothing does, there is none."""
        return is_read([self.listener])

    @property
    def refreshes_reference(self) -> bool:
        """Whether the reference's weights change, and so are a copy of their own and part of a checkpoint."""
        return False

    def _load(self, mesh: DeviceMesh | None) -> None:
        models = load(
            self.policy_spec,
            self.reference_name if self.wants_reference else None,
            empty=mesh is not None and ranks.rank() > 0,
            changing_reference=self.refreshes_reference,
        )
        self.models = models
        self.policy = models.policy
        self.reference = models.reference
        self.reader = models.reader
        self.label_ids = label_token_ids(models.reader.tokenizer, self.task.labels)
        self.shares_vision = models.shares_vision
        self.trainable = [name for name, p in self.named_parameters() if p.requires_grad]
        self.saved_names = list(self.trainable)
        if self.refreshes_reference and models.reference is not None:
            self.saved_names += counterparts(models.policy, models.reference)
        self.prepare_listener(self.listener)
        if self.reference_name == "start" and isinstance(self.listener, ReferenceListener):
            rank_zero_info("The listener is the reference, and hears with the weights that the policy starts from.")
        if mesh is not None and self.shares_vision and models.reference and models.reference.copy is not None:
            models.reference.copy.drop_vision()  # a module can be sharded once
        self.shard_part(self, mesh)

    def prepare_listener(self, listener: Listener) -> None:
        """Load a frozen listener."""
        listener.prepare(self.task, self.reader.tokenizer)
        listener.requires_grad_(False)

    # ---- the named steps -----------------------------------------------------------------------------------------

    @property
    def thinker(self) -> Thinker:
        """The policy as it is asked, with the module's options as they are now."""
        return Thinker(
            policy=self.policy,
            reader=self.reader,
            task=self.task,
            label_ids=self.label_ids,
            sampling=self.sampling,
            engine=self.engine,
            image_cache=self.image_cache,
            passes=self.budget,
            rollout_passes=self.rollout_budget,
            sharding=self.sharding,
        )

    def ask(self, shown: Sequence[Shown], keys: list[ItemKey]) -> Asked:
        """Word and encode the questions."""
        return self.thinker.ask(shown, keys)

    def roll_out(
        self, asked: Asked, group_size: int, hopeless: Callable[[Sequence[int]], bool] | None = None
    ) -> Completions:
        """Sample a group of completions for each question (``Thinker.roll_out``)."""
        return self.thinker.roll_out(asked, group_size, hopeless)

    def hopeless(self, ids: Sequence[int]) -> bool:
        """Whether nothing that may follow these tokens makes a completion well-formed."""
        return self.task.beyond_repair(b"".join(self.reader.token_bytes(list(ids))))

    def read(self, completions: Completions) -> list[Transcript]:
        """Parse every completion."""
        return self.thinker.read(completions)

    def reference_scores(
        self, asked: Asked, completions: Completions, transcripts: Sequence[Transcript]
    ) -> Scores | None:
        """Packed passes of the reference: its log-probabilities, and its label scores at the answers' places.

        None where there is no reference, since nothing reads it.
        """
        if self.reference is None:
            return None
        places_N = torch.tensor([transcript.answer_token or 0 for transcript in transcripts], device=self.device)
        with self.reference.active() as backbone:
            return self.thinker.scores(backbone, self.seen_by_reference(backbone, asked), completions, places_N)

    def seen_by_reference(self, backbone: Backbone, asked: Asked) -> Asked:
        """The questions with the reference's own image features."""
        return asked if self.shares_vision else replace(asked, features_MD=backbone.image_features(asked.prompts))

    def hear(
        self,
        listener: Listener,
        asked: Asked,
        completions: Completions,
        transcripts: Sequence[Transcript],
        reference: Scores | None,
    ) -> Heard:
        """A listener's word on every completion."""
        return listener.hear(self.hearing(asked, completions, transcripts, reference))

    def hearing(
        self, asked: Asked, completions: Completions, transcripts: Sequence[Transcript], reference: Scores | None
    ) -> Hearing:
        """What a listener is given of all completions."""
        content = completions.content_ids()
        heard_ids = [ids[: t.answer_token] for ids, t in zip(content, transcripts, strict=True)]
        return Hearing(
            shown=asked.shown,
            keys=asked.keys,
            labels=asked.labels,
            completions=completions,
            transcripts=transcripts,
            trace_bytes=[b"".join(self.reader.token_bytes(ids)) for ids in heard_ids],
            trace_ids=heard_ids,
            reference=reference,
            in_passes=self.budget,
            rescore=partial(self._by_reference, asked),
            stop_asked=lambda: self.stop_requested,
        )

    def _by_reference(self, asked: Asked, texts: Sequence[str]) -> Rescored:
        """The reference's answers after texts that somebody else wrote."""
        completions, places = self.written(texts)
        if self.reference is None:
            return Rescored(completions, places.tolist(), None)
        with self.reference.active() as backbone:
            scores = self.thinker.scores(backbone, self.seen_by_reference(backbone, asked), completions, places)
        return Rescored(completions, places.tolist(), scores)

    def written(self, texts: Sequence[str]) -> tuple[Completions, Tensor]:
        """Texts that somebody else wrote as completions, and each one's answer place."""
        return self.thinker.written([self.reader.encoder.encode_text(text, special=False) for text in texts])
