"""Supervised fine-tuning on answers alone: the baseline without thoughts ("SFT on HPDv2" of Gambashidze et al. 2025).

A reply is the task's form with the label in it, and nothing is thought. The loss is the mean over pairs of
-sum_l q_l log p(reply with label l | question): q puts all weight on the majority's image, or on each the share of its
votes (then the loss is at least the votes' entropy). So p(1|C), read at the answer's place as of any reasoner (Eq. 4),
is learnt directly.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lit_listener.data.demonstrators import FINISHED
from lit_listener.data.shown import Demonstration, Shown
from lit_listener.objective import expected_nll
from lit_listener.tasks import Question
from lit_listener.training.label_targets import LabelTargets, chosen_of, tie, votes_share
from lit_listener.training.reasoner import Reasoner
from lit_listener.vlm import ranks
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.packing import pack

Replies = list[tuple[int, float]]
"""Labels to reply with, each with its weight; the weights of a question sum to 1."""


class AnswerSFT(Reasoner):
    """Learns which answer to give, and no thoughts; ``data.traces`` stays empty.

    Ask with a task whose replies hold no thoughts; one that asks for them gets the same sentence in their place in
    every reply. A batch is one pass, which ``data.batch_size`` bounds; a question's replies share its prompt.

    Args:
        labels: majority learns the right label as the answer; votes learns, of a pair, the share of the votes for each.
        kwargs: options of the reasoner.
    """

    def __init__(self, *args: Any, labels: LabelTargets = "majority", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        ways: dict[str, Callable[[Shown, Question], Replies]] = {"majority": _right_label, "votes": _both_labels}
        self.replies = chosen_of(ways, labels)

    def training_step(self, batch: Sequence[Shown], batch_idx: int) -> Tensor:
        """The mean over questions of the expected negative log-likelihood of their replies."""
        if isinstance(batch[0], Demonstration):
            raise ValueError(  # noqa: TRY004  # an option is one too many, no argument has a wrong type
                "data.traces: AnswerSFT learns answers without thoughts; leave it out, or train with TraceSFT"
            )
        questions = [self.task.encode(shown) for shown in batch]
        replies = [self.replies(shown, question) for shown, question in zip(batch, questions, strict=True)]
        weight_N = torch.tensor([weight for each in replies for _, weight in each], device=self.device)
        written = [
            self.reply_ids(shown, label) for shown, each in zip(batch, replies, strict=True) for label, _ in each
        ]
        prompts = self.reader.encoder.encode(questions, room=max(map(len, written))).to(self.device)
        completions = Completions.from_ids(written, self.policy.vocabulary.pad_id).to(self.device)
        self.policy.train()
        scores = self.policy.score(pack(prompts, completions), self.policy.image_features(prompts))
        loss = expected_nll(scores.log_probs_NT, completions.mask_NT, weight_N, len(batch))  # as many on every rank
        answer_N = scores.log_probs_NT.detach().gather(1, self.answer_places(completions)[:, None]).squeeze(1)
        several = ranks.world_size() > 1
        self.log("sft/loss", loss, prog_bar=True, batch_size=len(batch), sync_dist=several)
        answer_loss = -(weight_N * answer_N).sum() / len(batch)
        self.log("sft/answer_loss", answer_loss, batch_size=len(batch), sync_dist=several)
        return loss

    def reply_ids(self, shown: Shown, label: int) -> list[int]:
        """The tokens of the reply with a label, end token included."""
        text = self.task.write(Demonstration(shown, FINISHED, label))
        return [*self.reader.encoder.encode_text(text), self.reader.tokenizer.eos_token_id]

    def answer_places(self, completions: Completions) -> Tensor:
        """Which token of each reply is its label's: ``[N]``.

        Raises:
            ValueError: a reply has no such token, so that no score could be read there either.
        """
        transcripts = self.read(completions)
        for transcript in transcripts:
            if transcript.answer_token is None:
                raise ValueError(
                    f"model.task: the reply {transcript.text!r} has no token of its own for its label in this model's "
                    "vocabulary; choose other labels or another form"
                )
        return torch.tensor([transcript.answer_token for transcript in transcripts], device=self.device)

    def configure_gradient_clipping(self, *args: object, **kwargs: object) -> None:
        """Clip to ``gradient_clip_norm``, so that all kinds of training read one option."""
        self.log("sft/grad_norm", self.clip_to_norm())


def _right_label(shown: Shown, question: Question) -> Replies:
    if question.label is None:
        raise tie(shown)
    return [(question.label, 1.0)]


def _both_labels(shown: Shown, question: Question) -> Replies:
    share = votes_share(shown)
    return [(0, 1.0 - share), (1, share)]
