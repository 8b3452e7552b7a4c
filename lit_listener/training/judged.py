"""The record of one judged pair, made of what a judging step computed.

A pair may take several questions (each of its images is rated by itself, say): its parts. What a row tells is then made
of all of them. Pairs of one list share the parts that are about one image, which are asked about once.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lit_listener.data.shown import Shown, ShownPair
from lit_listener.tasks import Outcome, Task, Transcript
from lit_listener.training.examination import Findings
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.listeners import Heard
from lit_listener.vlm.streams import ItemKey


@dataclass(frozen=True)
class Parts:
    """What has to be asked about to judge some pairs, each once."""

    shown: list[Shown]
    keys: list[ItemKey]
    of_pairs: list[tuple[int, ...]]
    """For each of the pairs, which of ``shown`` it is judged by."""

    @classmethod
    def of(cls, task: Task, pairs: Sequence[ShownPair]) -> "Parts":
        """The parts of pairs, in the order in which they come up."""
        places: dict[ItemKey, int] = {}
        shown: list[Shown] = []
        of_pairs = []
        for pair in pairs:
            own = []
            for part in task.parts(pair):
                key: ItemKey = ("judge", *part.identity)
                if key not in places:
                    places[key] = len(shown)
                    shown.append(part)
                own.append(places[key])
            of_pairs.append(tuple(own))
        return cls(shown, list(places), of_pairs)


@dataclass(frozen=True, eq=False)
class Completed:
    """N completions and all that is known of them."""

    completions: Completions
    transcripts: Sequence[Transcript]
    heard: Heard
    findings: Findings

    @cached_property
    def own_p_label_NL(self) -> Tensor:
        """The reasoner's own probability of each label; meaningless without an answer's place."""
        return self.completions.p_label_at([transcript.answer_token for transcript in self.transcripts])

    def said(self, task: Task, pair: ShownPair, places: Sequence[int]) -> dict[str, Any]:
        """What some completions say of a pair: the fields of a ``Prediction`` that are about completions.

        Args:
            task: how answers and verdicts are read.
            pair: the pair.
            places: which of the N completions, one for each of its parts.
        """
        transcripts = [self.transcripts[n] for n in places]
        answers = [transcript.answer for transcript in transcripts]
        answer = task.verdict(answers)
        level = answer is None and len(answers) > 1 and None not in answers  # one alone may name an image not shown
        whole = Outcome.BAD_LABEL if answer is None and not level else Outcome.OK
        own_KL = self.own_p_label_NL[list(places)]
        readable = all(transcript.answer_token is not None for transcript in transcripts)
        listened = _p_second(task, self.heard, places)
        found = self.findings
        contradictions = [found.p_contradiction[n] for n in places] if found.p_contradiction is not None else []
        known = [p for p in contradictions if p is not None]
        without = found.without_thinking_NL
        return {
            "answer": answer,
            "level": level,
            "outcome": str(next((t.outcome for t in transcripts if t.outcome is not Outcome.OK), whole)),
            "p_second": task.p_second(own_KL) if readable else None,
            "likeliest_p_second": _likeliest(task, own_KL) if readable else None,
            "listener_p_second": listened,
            "listener_p_correct": None
            if listened is None or pair.label is None
            else (listened if pair.label == 1 else 1.0 - listened),
            "contradicts": any(task.contradicts(transcript) for transcript in transcripts),
            "stated_verdict": task.verdict([task.stated_verdict(t.think or "") for t in transcripts]),
            "length": sum(int(self.completions.mask_NT[n].sum()) for n in places),
            "truncated": any(bool(self.completions.truncated_N[n]) for n in places),
            "trace": "\n\n".join(transcript.think or "" for transcript in transcripts),
            "p_second_without_thinking": None if without is None else task.p_second(without[list(places)]),
            "listener_p_second_stripped": _p_second(task, found.stripped, places),
            "independent_p_second": _p_second(task, found.independent, places),
            "p_contradiction": max(known) if known else None,
        }


def _p_second(task: Task, heard: Heard | None, places: Sequence[int]) -> float | None:
    """A listener's probability of the second image; None where it heard nothing of a part."""
    if heard is None or not bool(heard.readable_N[list(places)].all()):
        return None
    p_label_KL: Tensor = heard.p_label_NL[torch.tensor(places)]
    return task.p_second(p_label_KL)


def _likeliest(task: Task, own_KL: Tensor) -> float:
    """p(second) by the likeliest answers alone; 0.5 where two ratings alike are the likeliest.

    One question tells it by which image is likelier, for its likeliest label may be of an image that is not shown.
    """
    if len(own_KL) == 1:
        p_second = task.p_second(own_KL)
        return 0.5 if p_second == 0.5 else float(p_second > 0.5)
    return task.p_second(functional.one_hot(own_KL.argmax(1), own_KL.shape[1]).float())


def shown_facts(shown: ShownPair, source: str) -> dict[str, Any]:
    """The fields of a ``Prediction`` that are known before anything is judged.

    Args:
        shown: the pair.
        source: name of the pairs' source.
    """
    pair = shown.pair
    return {
        "pair_id": pair.pair_id,
        "prompt_id": pair.prompt_id,
        "prompt": pair.prompt,
        "first": shown.first,
        "label": shown.label,
        "share_a": pair.share_a,
        "generator_a": pair.generator_a,
        "generator_b": pair.generator_b,
        "source": source,
        "index": shown.index,
        "votes": pair.votes,
        "category": pair.category,
        **(asdict(pair.listed) if pair.listed else {}),
    }
