"""A listener with a model of its own."""

from typing import Literal

import torch

from lit_listener.tasks import Task
from lit_listener.vlm.backbone import Scores
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.encoding import label_token_ids
from lit_listener.vlm.listeners.listener import Heard, Hearing, Listener
from lit_listener.vlm.loading import DTypeName, PolicySpec, load_backbone
from lit_listener.vlm.packing import pack
from lit_listener.vlm.passes import Pass


class ModelListener(Listener):
    """Another frozen vision-language model; reads the prompt and its images once for all G traces.

    Args:
        model: Hugging Face folder, hub id or bundled model.
        context: ``reasoner``: the reasoner's own question and completion up to the answer; ``own``: the listener's own
            question, with the trace told as somebody's explanation.
        dtype: number format of its weights.
    """

    reads_reference = False

    def __init__(self, model: str, context: Literal["own", "reasoner"] = "own", dtype: DTypeName = "float32") -> None:
        super().__init__()
        self.name = model
        self.context = context
        self.dtype: DTypeName = dtype

    def prepare(self, task: Task, tokenizer: object) -> None:
        """Load the model; refuse one whose tokenizer lacks the answer labels."""
        self.backbone, self.reader = load_backbone(self.name, PolicySpec(self.name, dtype=self.dtype))
        self.backbone.requires_grad_(False)
        self.label_ids = label_token_ids(self.reader.tokenizer, task.labels)
        self.task = task
        self.same_tokens = tokenizer.get_vocab() == self.reader.tokenizer.get_vocab()  # type: ignore[attr-defined]

    @torch.no_grad()
    def hear(self, hearing: Hearing) -> Heard:
        """Packed scoring of [question, trace 1, ..., trace G], in one pass or in as many as it takes to fit."""
        self.backbone.eval()
        ask = self.task.encode if self.context == "reasoner" else self.task.retell_question
        readable = hearing.readable_N
        pad = self.backbone.vocabulary.pad_id
        traces = [self._trace(hearing, n) if heard else [] for n, heard in enumerate(readable.tolist())]
        longest = max(map(len, traces))
        prompts = self.reader.encoder.encode([ask(shown) for shown in hearing.shown], room=longest + 1)
        prompts = prompts.to(self.backbone.device)
        # one more token stands at the label's place: its own identity is not read, only what is predicted there
        rows = Completions.from_ids([[*trace, pad] for trace in traces], pad).to(self.backbone.device)
        places_N = torch.tensor([len(trace) for trace in traces], device=self.backbone.device)
        features_MD = self.backbone.image_features(prompts)

        def score(each: Pass) -> Scores:
            return self.backbone.score(
                pack(prompts.select(each.prompts), rows.select(each.rows)),
                prompts.features_of(each.prompts, features_MD),
                answer_place_N=places_N[each.rows],
                label_ids=self.label_ids,
            )

        parts = hearing.in_passes(
            lambda passes: [score(each) for each in passes], prompts.lengths_P.tolist(), rows.lengths_N.tolist()
        )
        scores = Scores.joined(parts, longest + 1)
        return Heard(scores.label_logits_NL.softmax(1).cpu(), readable, scores.discarded_mass_N.cpu())

    def _trace(self, hearing: Hearing, n: int) -> list[int]:
        if self.context == "own":
            return self.reader.encoder.encode_text(self.task.retell_continuation(hearing.transcripts[n].think or ""))
        if self.same_tokens:
            return list(hearing.trace_ids[n])
        return self.reader.encoder.encode_text(hearing.trace_bytes[n].decode(errors="replace"), special=False)
