"""How judgements are put into words, the same in the terminal and on the page."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from lit_listener.data.records import Side
from lit_listener.judging.results import Comparison, Ranking, Trace

_TURN_TEXT_ROUND = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True)
class Mark:
    """Something about a comparison that its reader should know."""

    text: str
    meaning: str


def plain(text: str) -> str:
    """A text of others, with what a terminal would obey and what turns text round made visible as U+FFFD."""
    return "".join("\ufffd" if _acts(each) else each for each in text)


def plain_line(text: str) -> str:
    """The same on one line."""
    return plain(text).replace("\n", "\ufffd").replace("\t", "\ufffd")


def trace_marks(comparison: Comparison) -> tuple[Mark, ...]:
    """What is odd about traces of a comparison."""
    of = len(comparison.traces)
    forced = sum(trace.forced for trace in comparison.traces)
    contradicting = sum(trace.contradicts for trace in comparison.traces)
    counted = (
        (forced, "forced", "a trace that came to no answer; it was closed, and the probability read there"),
        (contradicting, "contradicting", "the thoughts state one verdict, and the answer gives the other"),
    )
    return tuple(Mark(f"{count} of {of} {word}", f"{word}: {meaning}") for count, word, meaning in counted if count)


def marks(comparison: Comparison) -> tuple[Mark, ...]:
    """What is odd about a comparison, or traces of it."""
    meaning = "orders disagree: the two display orders prefer different images"
    flipped = (Mark("orders disagree", meaning),) if comparison.flipped else ()
    return (*flipped, *trace_marks(comparison))


def legend(marked: Iterable[Mark]) -> str:
    """What marks mean, each once; nothing where there are none."""
    meanings = dict.fromkeys(mark.meaning for mark in marked)
    return f"Notes: {'. '.join(meanings)}." if meanings else ""


def how_asked(result: Comparison | Ranking) -> str:
    """How often the model was asked about a pair."""
    traces = "1 trace" if result.rollouts == 1 else f"{result.rollouts} traces"
    return f"{traces} in {'each of two display orders' if result.both_orders else 'one display order'}"


def what_scores_are(ranking: Ranking, anchor: str) -> str:
    """What the scores of a ranking are, and are comparable with."""
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
    if trace.listener_p_a is not None:
        facts.append(f"listener's {trace.listener_p_a:.3f}")
    facts.append(f"{trace.tokens} tokens")
    odd = ((trace.forced, "forced"), (trace.contradicts, "contradicting"), (trace.outcome != "ok", trace.outcome))
    return [*facts, *(text.replace("_", " ") for there, text in odd if there)]


def thoughts(trace: Trace) -> str:
    """What a trace thought; where no thoughts can be told from the rest, all that was written."""
    return plain(trace.thinking.strip() or trace.text.strip()) or "(nothing)"


def _side(side: Side, names: tuple[str, str]) -> str:
    return names[0] if side == "a" else names[1]


def _acts(character: str) -> bool:
    if character in "\n\t":
        return False
    return character in _TURN_TEXT_ROUND or unicodedata.category(character) in ("Cc", "Cs")
