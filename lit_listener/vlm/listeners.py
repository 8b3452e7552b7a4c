"""Listeners: frozen models that hear a chain of thought without its answer, and say which image they now think better.

``ReferenceListener`` is the papers' case, p_corr = pi_ref(y* | C) (Gambashidze et al. 2025, section 4.3): its score is
read off the reference pass at the answer's place, and costs nothing. The random and shuffled listeners are controls:
if a listener helps because of what it hears, they must not.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from lit_listener.data.records import ShownPair
from lit_listener.tasks import Task, Transcript
from lit_listener.vlm import ranks
from lit_listener.vlm.backbone import Scores
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.encoding import label_token_ids
from lit_listener.vlm.loading import DTypeName, PolicySpec, load_backbone
from lit_listener.vlm.packing import pack
from lit_listener.vlm.passes import InPasses, Pass, at_once
from lit_listener.vlm.streams import ItemKey, uniforms


@dataclass(frozen=True)
class Hearing:
    """What a listener is given: N = P x G completions and what is known of them."""

    shown: Sequence[ShownPair]
    """The P pairs."""
    keys: Sequence[ItemKey]
    """The P pairs' random-stream keys."""
    completions: Completions
    transcripts: Sequence[Transcript]
    trace_bytes: Sequence[bytes]
    """The N completions up to the answer's place (all of it where there is none)."""
    trace_ids: Sequence[Sequence[int]]
    """The same as the reasoner's token ids."""
    reference: Scores | None
    """The reference's word on them; None where no reference was asked, and only a model of its own can hear."""
    in_passes: InPasses = at_once
    """Cuts a listener's own scoring into passes that fit."""

    @property
    def group_size(self) -> int:
        """Completions a pair."""
        return len(self.transcripts) // len(self.shown)

    @property
    def readable_N(self) -> Tensor:
        """True where a completion has an answer place, and so a p(correct)."""
        return torch.tensor([transcript.answer_token is not None for transcript in self.transcripts])


@dataclass(frozen=True)
class Heard:
    """A listener's word on N completions."""

    p_label_NL: Tensor
    """Probability of each answer label, renormalised over the labels; meaningless where unreadable."""
    readable_N: Tensor
    discarded_mass_N: Tensor
    """Probability that went to tokens that are no label, before renormalising."""

    def p_correct_N(self, labels_N: Tensor) -> Tensor:
        """The probability of the right image, p_corr of Eq. 5."""
        return self.p_label_NL.gather(1, labels_N[:, None]).squeeze(1)


class Listener(nn.Module, ABC):
    """A frozen judge of other models' thoughts."""

    def prepare(self, task: Task, tokenizer: object) -> None:
        """Load what is needed, once, before training.

        Args:
            task: the task whose labels are read.
            tokenizer: the reasoner's tokenizer.
        """

    @property
    def in_evaluation(self) -> "Listener":
        """Who listens in validation and test: itself; for a control, whose word says nothing, the reference."""
        return self

    @abstractmethod
    def hear(self, hearing: Hearing) -> Heard:
        """Score N completions. An exception stops the run: a failure never becomes a number."""


class ReferenceListener(Listener):
    """The reference model, in the reasoner's own context: no forward pass of its own."""

    def hear(self, hearing: Hearing) -> Heard:
        """Read the answer labels' probabilities off the reference pass."""
        scores = hearing.reference
        if scores is None:
            raise ValueError("ReferenceListener reads the reference's scores, and there is no reference here")
        return Heard(scores.label_logits_NL.softmax(1).cpu(), hearing.readable_N, scores.discarded_mass_N.cpu())


class ModelListener(Listener):
    """Another frozen vision-language model; reads the prompt and its images once for all G traces.

    Args:
        model: Hugging Face folder, hub id or bundled model.
        context: ``reasoner``: the reasoner's own question and completion up to the answer; ``own``: the listener's own
            question, with the trace told as somebody's explanation.
        dtype: number format of its weights.
    """

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


class RandomListener(Listener):
    """Uniform noise in place of an ear: the control that would falsify the method.

    Args:
        seed: seed of the noise, which is drawn anew for every completion.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed

    @property
    def in_evaluation(self) -> Listener:
        """The reference."""
        return ReferenceListener()

    def hear(self, hearing: Hearing) -> Heard:
        """p(second) uniform in [0, 1)."""
        keys: list[ItemKey] = [("random-listener", *key) for key in hearing.keys]
        noise_N = uniforms(self.seed, keys, hearing.group_size, 1).flatten().float()
        return Heard(torch.stack([1 - noise_N, noise_N], 1), hearing.readable_N, torch.zeros_like(noise_N))


class ShuffledListener(Listener):
    """The reference listener's own scores, each given to a completion of another prompt: right scale, no information.

    Args:
        seed: seed of the shuffle.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.source = ReferenceListener()

    @property
    def in_evaluation(self) -> Listener:
        """The reference."""
        return ReferenceListener()

    def hear(self, hearing: Hearing) -> Heard:
        """Permute p(correct) among the readable completions, always across prompts.

        Where one prompt has more than half of them, no permutation does that: its completions then share the others'
        scores. Where it has all of them, none is heard.

        Scores are permuted over the prompts of all ranks, in the order in which one process would have them.

        Raises:
            ValueError: fewer than two prompts, or a pair without a winner.
        """
        own, prompts = len(hearing.shown), len(hearing.shown) * ranks.world_size()
        if prompts < 2:
            raise ValueError(f"ShuffledListener needs at least 2 prompts to shuffle between, got {prompts}")
        labels = [shown.label for shown in hearing.shown]
        if any(label is None for label in labels):
            raise ValueError("ShuffledListener needs pairs with a winner; drop ties from the data")
        heard = self.source.hear(hearing)
        labels_N = torch.tensor(labels).repeat_interleave(hearing.group_size)
        prompt_N = torch.arange(prompts).repeat_interleave(hearing.group_size)
        readable = ranks.dealt_together(heard.readable_N, own).nonzero().flatten()
        first_key = ranks.gathered(torch.tensor([_numbers(hearing.keys[0])]))[0].tolist()
        rng = np.random.default_rng([self.seed, *first_key])
        sources = _from_other_prompts(prompt_N[readable], rng)
        if sources is None:
            return Heard(heard.p_label_NL, torch.zeros_like(heard.readable_N), heard.discarded_mass_N)
        p_correct_N = ranks.dealt_together(heard.p_correct_N(labels_N), own)
        p_correct_N[readable] = p_correct_N[readable[sources]]
        p_correct_N = ranks.own_share(p_correct_N, own)
        labels_count = heard.p_label_NL.shape[1]
        p_label_NL = ((1 - p_correct_N) / (labels_count - 1))[:, None].repeat(1, labels_count)
        p_label_NL.scatter_(1, labels_N[:, None], p_correct_N[:, None])
        return Heard(p_label_NL, heard.readable_N, heard.discarded_mass_N)


def _from_other_prompts(prompt_R: Tensor, rng: np.random.Generator) -> Tensor | None:
    """For each of R completions, sorted by prompt, the place of one of another prompt; None where there is none."""
    total, counts = len(prompt_R), prompt_R.bincount()
    largest = int(counts.max()) if total else 0
    if largest == total:
        return None
    if largest <= total - largest:  # a shift by at least the largest prompt's share leaves every prompt
        return torch.arange(total).roll(int(rng.integers(largest, total - largest + 1)))
    inside, outside = (part.nonzero().flatten() for part in (prompt_R == counts.argmax(), prompt_R != counts.argmax()))
    sources = torch.empty_like(prompt_R)
    sources[inside] = outside[torch.arange(largest) % len(outside)]
    sources[outside] = inside[torch.from_numpy(rng.permutation(largest)[: len(outside)])]
    return sources


def _numbers(key: ItemKey) -> list[int]:
    return [part for part in key if isinstance(part, int)]
