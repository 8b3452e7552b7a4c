"""The record of one judged pair, made of what a judging step computed."""

from dataclasses import asdict
from typing import Any

from lit_listener.data.records import ShownPair
from lit_listener.objective import preference_probability
from lit_listener.tasks import Task, Transcript
from lit_listener.training.examination import Findings
from lit_listener.vlm.completions import Completions
from lit_listener.vlm.listeners import Heard


def said(
    task: Task,
    shown: ShownPair,
    completions: Completions,
    transcript: Transcript,
    heard: Heard,
    n: int,
    findings: Findings,
) -> dict[str, Any]:
    """What the n-th completion says of its pair: the fields of a ``Prediction`` that are about the completion.

    Args:
        task: how answers and verdicts are read.
        shown: the pair.
        completions: the completions of the step.
        transcript: what was read of the n-th.
        heard: the listener's word on all of them.
        n: its place.
        findings: what else was found out about it.
    """
    place, label = transcript.answer_token, shown.label
    own = None if place is None else float(preference_probability(completions.label_logits_NTL[n, place]))
    listened = float(heard.p_label_NL[n, 1]) if bool(heard.readable_N[n]) else None
    correct = None if listened is None or label is None else float(heard.p_label_NL[n, label])
    return {
        "answer": transcript.answer,
        "outcome": str(transcript.outcome),
        "p_second": own,
        "listener_p_second": listened,
        "listener_p_correct": correct,
        "contradicts": task.contradicts(transcript),
        "stated_verdict": task.stated_verdict(transcript.think or ""),
        "length": int(completions.mask_NT[n].sum()),
        "truncated": bool(completions.truncated_N[n]),
        "trace": transcript.think or "",
        **asdict(findings),
    }


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
