"""Supervised fine-tuning on demonstrations: think like this, then answer like this.

Makes the starting points that GRPO needs: an instruct model that knows the format, or a warm start with given habits.
The loss is the mean negative log-likelihood of the demonstrations' tokens, end token included; prompts carry none.
"""

from collections.abc import Sequence

from torch import Tensor

from lit_listener.data.shown import Demonstration
from lit_listener.training.reasoner import Reasoner
from lit_listener.vlm import ranks
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.packing import pack


class TraceSFT(Reasoner):
    """Learns to write given traces and answers (``data.traces`` writes them).

    A batch is one pass, which ``data.batch_size`` bounds; ``memory.max_tokens_per_pass`` holds in validation and test.
    """

    def training_step(self, batch: Sequence[Demonstration], batch_idx: int) -> Tensor:
        """Token-mean negative log-likelihood of a batch of demonstrations."""
        if not isinstance(batch[0], Demonstration):
            raise ValueError(  # noqa: TRY004  # an option is missing, no argument has a wrong type
                "data.traces: name who writes the thoughts to learn from, for instance ShapesTraces"
            )
        encoder = self.reader.encoder
        end_id = self.reader.tokenizer.eos_token_id
        written = [[*encoder.encode_text(self.task.write(demonstration)), end_id] for demonstration in batch]
        prompts = encoder.encode(
            [self.task.encode(demonstration.shown) for demonstration in batch], room=max(map(len, written))
        ).to(self.device)
        completions = Completions.from_ids(written, self.policy.vocabulary.pad_id).to(self.device)
        self.policy.train()
        scores = self.policy.score(pack(prompts, completions), self.policy.image_features(prompts))
        # the mean over the tokens of all ranks, whose gradients (and logged losses) are averaged
        tokens = ranks.summed(completions.mask_NT.sum()) / ranks.world_size()
        loss = -scores.log_probs_NT[completions.mask_NT].sum() / tokens
        entropy = scores.entropy_NT.detach()[completions.mask_NT].sum() / tokens
        several = ranks.world_size() > 1
        self.log("sft/loss", loss, prog_bar=True, batch_size=len(batch), sync_dist=several)
        self.log("sft/entropy", entropy, batch_size=len(batch), sync_dist=several)
        return loss

    def configure_gradient_clipping(self, *args: object, **kwargs: object) -> None:
        """Clip to ``gradient_clip_norm``, so that both kinds of training read one option."""
        self.log("sft/grad_norm", self.clip_to_norm())
