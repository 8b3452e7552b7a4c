"""The reasoner: a policy that judges pairs of images, thinking aloud first, and can be examined.

Training differs between subclasses; judging does not: sample a thought and an answer for each pair, read the policy's
own soft score off the sampling itself, and the listener's off one pass of the reference.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn

from lit_listener.data.shown import ShownPair
from lit_listener.evaluation.prediction import Prediction
from lit_listener.judging.card import CARD
from lit_listener.judging.run_config import card_of_run, read_run_config
from lit_listener.training.examination import Examination
from lit_listener.training.judged import Completed, Parts, shown_facts
from lit_listener.training.policy_module import PolicyModule
from lit_listener.training.reference_use import is_read
from lit_listener.training.run.evaluations import JUDGING
from lit_listener.vlm.asked import Asked
from lit_listener.vlm.listeners import Listener, Rescored

_JUDGED = Examination(rollouts=1, without_thinking=False, strip_verdicts=False)
"""The answer, and the listener's word on it, alone."""


class Reasoner(PolicyModule):
    """A policy that judges, and everything but training.

    Args:
        evaluation: how thoroughly test and predict look at the trained model.
        kwargs: options of the policy.
    """

    def __init__(self, *args: Any, evaluation: Examination = Examination(), **kwargs: Any) -> None:  # noqa: B008
        super().__init__(*args, **kwargs)
        self.evaluation = evaluation
        self.independent_listener: Listener | None = None
        """The evaluation's, once it is loaded: training does without it."""
        self._examines = False

    def setup(self, stage: str) -> None:
        """Note whether this is an evaluation."""
        super().setup(stage)
        self._examines = stage in JUDGING

    def configure_model(self) -> None:
        """Load policy, reference and listener, once; and whom only an evaluation asks, for an evaluation."""
        super().configure_model()
        if self._examines and self.independent_listener is None and self.evaluation.independent_listener is not None:
            self.independent_listener = self.evaluation.independent_listener
            self.prepare_listener(self.independent_listener)
            self.shard_part(self.independent_listener, self.mesh)
        if self._examines and self.evaluation.text_judge is not None:
            # Lightning moves only modules, and those later
            self.evaluation.text_judge.prepare(self._trainer.strategy.root_device if self._trainer else self.device)

    @property
    def wants_reference(self) -> bool:
        """Whether the listener, or the evaluation's own, reads the reference."""
        return is_read([self.listener, self.evaluation.independent_listener])

    def model_files(self, config: Path) -> Mapping[str, str | bytes]:
        """The ``judge.json`` that goes with a run's model."""
        if not config.is_file():
            rank_zero_warn(
                f"there is no {config.name} of this run to tell how its model is asked, so that the model is saved "
                f"without {CARD}: load it with the run's task, Judge.load(..., task=...)"
            )
            return {}
        run = read_run_config(config.parent / "checkpoints" / "last.ckpt")
        return {CARD: card_of_run(run, tells_folders=False)}

    def judge(self, shown: Sequence[ShownPair], source: str = "") -> list[Prediction]:
        """One thought, answer and pair of soft scores for each pair that counts; the same whatever the batch."""
        return self._judged(shown, source, _JUDGED)

    def examine(self, shown: Sequence[ShownPair], source: str = "") -> list[Prediction]:
        """What ``judge`` gives, for each of k completions, with all that ``evaluation`` asks for."""
        return self._judged(shown, source, self.evaluation)

    @torch.no_grad()
    def _judged(self, shown: Sequence[ShownPair], source: str, examination: Examination) -> list[Prediction]:
        parts = Parts.of(self.task, shown)
        asked = self.ask(parts.shown, parts.keys)
        completions = self.roll_out(asked, k := examination.rollouts)
        transcripts = self.read(completions)
        hearing = self.hearing(asked, completions, transcripts, self.reference_scores(asked, completions, transcripts))
        listener = self.listener.in_evaluation
        heard = listener.hear(hearing)
        findings = examination.findings(
            self.task, hearing, listener, partial(self._by_policy, asked), partial(self._by_reference, asked)
        )
        completed = Completed(completions, transcripts, heard, findings)
        return [
            Prediction(
                **shown_facts(pair, source),
                rollout=rollout,
                **completed.said(self.task, pair, [place * k + rollout for place in places]),
            )
            for pair, places in zip(shown, parts.of_pairs, strict=True)
            for rollout in range(k)
            if pair.counted
        ]

    def _by_policy(self, asked: Asked, texts: Sequence[str]) -> Rescored:
        """The policy's answers after texts that somebody else wrote."""
        completions, places = self.written(texts)
        return Rescored(completions, places.tolist(), self.thinker.scores(self.policy, asked, completions, places))
