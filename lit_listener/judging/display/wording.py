"""How judgements are put into words, the same in the terminal and on the page."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lit_listener.data.records import Side
from lit_listener.judging.results import Comparison, Ranking
from lit_listener.judging.traces import ListTrace, RatingTrace, Trace

_TURN_TEXT_ROUND = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True)
class Mark:
    """Something about a comparison that its reader should know."""

    text: str
    meaning: str


FLIPPED = Mark("orders disagree", "orders disagree: the two display orders prefer different images")


def plain(text: str) -> str:
    """A text of others, with what a terminal would obey and what turns text round made visible as U+FFFD."""
    return "".join("\ufffd" if _acts(each) else each for each in text)


def plain_line(text: str) -> str:
    """The same on one line."""
    return plain(text).replace("\n", "\ufffd").replace("\t", "\ufffd")


def trace_marks(traces: Sequence[Trace | RatingTrace | ListTrace]) -> tuple[Mark, ...]:
    """What is odd about traces of a comparison, a rating or a list."""
    of = len(traces)
    forced = sum(trace.forced for trace in traces)
    contradicting = sum(trace.contradicts for trace in traces)
    counted = (
        (forced, "forced", "a trace that came to no answer; it was closed, and the probability read there"),
        (contradicting, "contradicting", "the thoughts state one verdict, and the answer gives the other"),
    )
    return tuple(Mark(f"{count} of {of} {word}", f"{word}: {meaning}") for count, word, meaning in counted if count)


def marks(comparison: Comparison) -> tuple[Mark, ...]:
    """What is odd about a comparison, or traces of it."""
    return (*((FLIPPED,) if comparison.flipped else ()), *trace_marks(comparison.traces))


def list_marks(traces: Sequence[ListTrace]) -> tuple[Mark, ...]:
    """What is odd about traces of a list; orders disagree where they have different images as the best one."""
    best = set()
    for order in {trace.order for trace in traces}:
        scores = zip(*(trace.scores for trace in traces if trace.order == order), strict=True)
        sums = [sum(each) for each in scores]
        best.add(sums.index(max(sums)))
    return (*((FLIPPED,) if len(best) > 1 else ()), *trace_marks(traces))


def legend(marked: Iterable[Mark]) -> str:
    """What marks mean, each once; nothing where there are none."""
    meanings = dict.fromkeys(mark.meaning for mark in marked)
    return f"Notes: {'. '.join(meanings)}." if meanings else ""


def how_asked(result: Comparison | Ranking) -> str:
    """How often the model was asked about a pair, an image, or a list."""
    traces = "1 trace" if result.rollouts == 1 else f"{result.rollouts} traces"
    if result.ratings is not None:
        return f"{traces} about each image by itself"
    orders = "each of two display orders" if result.both_orders else "one display order"
    if isinstance(result, Ranking) and result.list_traces is not None:
        return f"{traces} about all {len(result.scores)} images at once, in {orders}"
    return f"{traces} in {orders}"


def what_scores_are(ranking: Ranking, anchor: str | None) -> str:
    """What the scores of a ranking are, and are comparable with."""
    if ranking.ratings is not None:
        scale = f"0 is a rating of {ranking.ratings[0].lowest}, 1 one of {ranking.ratings[0].highest}"
        return f"Score: expected rating of each image by itself ({scale}). All scores of one judge compare."
    if ranking.list_traces is not None:
        of = f"probability of being the best of these {len(ranking.scores)} images, judged at once"
        return f"Score: {of}. Scores compare within this ranking only."
    if ranking.anchor_choice == "seed":
        chosen, others = f"chosen by seed {ranking.seed}", "Scores compare within this ranking only."
    else:
        chosen, others = "as given", "Scores compare only with those against the same anchor."
    return f"Score: probability that an image is preferred to the anchor, {anchor} ({chosen}). {others}"


def verdict(comparison: Comparison, names: tuple[str, str]) -> str:
    """Which image is preferred, and whether both display orders say so."""
    if comparison.preferred is None:
        said = "Neither is preferred: both are exactly level."
    else:
        said = f"Preferred: {_side(comparison.preferred, names)}."
    if comparison.ratings is not None:
        score_a, score_b = (rating.score for rating in comparison.ratings)
        return f"{said} Each was rated by itself: {names[0]} {score_a:.3f}, {names[1]} {score_b:.3f} of 1."
    if comparison.flipped is None:
        return f"{said} Shown in one order only, A first."
    if not comparison.flipped:
        return f"{said} Both display orders agree."
    a_first, b_first = ([trace.p_a for trace in comparison.traces if trace.first == side] for side in ("a", "b"))
    means = [sum(each) / len(each) for each in (a_first, b_first)]
    return f"{said} The display orders disagree: p(A) = {means[0]:.3f} with A first, {means[1]:.3f} with B first."


def trace_facts(trace: Trace, names: tuple[str, str], rollouts: int) -> list[str]:
    """What a trace amounts to.

    Args:
        trace: the trace.
        names: of its images A and B.
        rollouts: traces in its display order.
    """
    facts = [
        *([f"trace {trace.rollout + 1} of {rollouts}"] if rollouts > 1 else []),
        f"{_side(trace.first, names)} shown first",
        "no answer can be read" if trace.answer is None else f"answer: {_side(trace.answer, names)}",
        f"p({names[0]}) = {trace.p_a:.3f}",
    ]
    return [*facts, *_further_facts(trace, _heard(trace.listener_p_a))]


def rating_facts(trace: RatingTrace, rollouts: int) -> list[str]:
    """What a trace about one image amounts to.

    Args:
        trace: the trace.
        rollouts: traces about its image.
    """
    facts = [
        *([f"trace {trace.rollout + 1} of {rollouts}"] if rollouts > 1 else []),
        "no answer can be read" if trace.answer is None else f"rated {trace.answer}",
        f"score {trace.score:.3f}",
    ]
    return [*facts, *_further_facts(trace, _heard(trace.listener_score))]


def list_facts(trace: ListTrace, names: Sequence[str], rollouts: int) -> list[str]:
    """What a trace about all images of a list amounts to; its numbers are in displayed order.

    Args:
        trace: the trace.
        names: of all images.
        rollouts: traces in its display order.
    """
    heard = trace.listener_scores
    facts = [
        *([f"trace {trace.rollout + 1} of {rollouts}"] if rollouts > 1 else []),
        f"shown in this order: {', '.join(names[place] for place in trace.order)}",
        "no answer can be read" if trace.answer is None else f"answer: {names[trace.answer]}",
        f"p(best) = {', '.join(f'{trace.scores[place]:.3f}' for place in trace.order)}",
    ]
    return [*facts, *_further_facts(trace, () if heard is None else [heard[place] for place in trace.order])]


def _heard(listener: float | None) -> tuple[float, ...]:
    return () if listener is None else (listener,)


def _further_facts(trace: Trace | RatingTrace | ListTrace, heard: Sequence[float]) -> list[str]:
    listener = [f"listener's {', '.join(f'{each:.3f}' for each in heard)}"] if heard else []
    facts = [*listener, f"{trace.tokens} tokens"]
    odd = ((trace.forced, "forced"), (trace.contradicts, "contradicting"), (trace.outcome != "ok", trace.outcome))
    return [*facts, *(text.replace("_", " ") for there, text in odd if there)]


def thoughts(trace: Trace | RatingTrace | ListTrace) -> str:
    """What a trace thought; where no thoughts can be told from the rest, all that was written."""
    return plain(trace.thinking.strip() or trace.text.strip()) or "(nothing)"


def _side(side: Side, names: tuple[str, str]) -> str:
    return names[0] if side == "a" else names[1]


def _acts(character: str) -> bool:
    if character in "\n\t":
        return False
    return character in _TURN_TEXT_ROUND or unicodedata.category(character) in ("Cc", "Cs")
