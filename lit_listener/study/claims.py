"""Claims of the listener paper, and what its review asked, each as one difference that is measured and decided by rule.

Differences are written so that the claim says they are above 0, but for the claims that something adds nothing.
"""

from collections.abc import Callable, Iterable

from lit_listener.evaluation.crossed import Crossed, crossed_measured_difference
from lit_listener.evaluation.results import Measured, undefined
from lit_listener.study import papers
from lit_listener.study.judgements import (
    GRPO,
    HELD_IN,
    HELD_OUT,
    INSTRUCT,
    LISTENER,
    RATING,
    SFT,
    START,
    Judgements,
    Keep,
    every,
    is_clear,
)
from lit_listener.study.papers import Published
from lit_listener.study.tables import NO_ARM
from lit_listener.study.verdicts import SMALLEST, Above, AtMost, Claim, Finding

HALF_APART = 2.0**-0.5
"""Half of the largest distance there is between two beliefs, sqrt(2)."""
RESOLUTION = papers.GRPO_WITH.less(papers.GRPO_WITHOUT).error or SMALLEST
"""1.7 points, the most that counts as nothing: what "± 1.2" (Table 5) makes of a difference, as if independent."""


def findings(judged: Judgements) -> tuple[Finding, ...]:
    """Every claim, measured and decided."""
    return tuple(_found(claim, judged) for claim in all_claims())


def all_claims() -> tuple[Claim, ...]:
    """The paper's, of accuracy, of traces and of its figures; then what its review asked for."""
    return (*_accuracy_claims(), _mean_claim(), *_trace_claims(), *_figure_claims(), *_control_claims())


def _found(claim: Claim, judged: Judgements) -> Finding:
    missing = [arm for arm in claim.arms if arm not in judged]
    ours = undefined(f"{NO_ARM}: {', '.join(missing)}", "points") if missing else claim.take(judged)
    return Finding(claim, ours, claim.rule.decide(ours))


def _accuracy_claims() -> Iterable[Claim]:
    def gain(
        key: str, says: str, where: str, paper: Published | None, names: str, of: tuple[str, str, str, Keep]
    ) -> Claim:
        more, less, source, keep = of

        def take(judged: Judgements) -> Measured:
            return crossed_measured_difference(
                judged.mean_at(more, source, keep=keep), judged.mean_at(less, source, keep=keep)
            )

        return Claim(key, says, where, paper, f"accuracy of {names}", _above(paper), (more, less), take)

    for key, arm, name in (("zero_shot", START, "its start"), ("zero_shot_instruct", INSTRUCT, "the instruct model")):
        yield gain(
            key,
            f"GRPO beats zero-shot reasoning ({name})",
            "Table 3",
            papers.GRPO.less(papers.ZERO_SHOT),
            f"GRPO less that of {name}, held-in",
            (GRPO, arm, HELD_IN, every),
        )
    yield gain(
        "listener_in_domain",
        "The listener raises accuracy in domain",
        "Table 3",
        papers.LISTENER.less(papers.GRPO),
        "GRPO + listener less that of GRPO, held-in",
        (LISTENER, GRPO, HELD_IN, every),
    )
    yield gain(
        "sft_in_domain",
        "GRPO beats SFT in domain",
        "Table 3",
        papers.GRPO.less(papers.SFT),
        "GRPO less that of SFT, held-in",
        (GRPO, SFT, HELD_IN, every),
    )
    yield gain(
        "sft_out_of_domain",
        "GRPO beats SFT out of domain",
        "Figure 3",
        None,
        "GRPO less that of SFT, held-out",
        (GRPO, SFT, HELD_OUT, every),
    )
    yield gain(
        "rating_out_of_domain",
        "GRPO on pairs beats GRPO on ratings out of domain",
        "Section 5",
        None,
        "GRPO on pairs less that of GRPO on ratings, held-out",
        (GRPO, RATING, HELD_OUT, every),
    )
    yield gain(
        "listener_out_of_domain",
        "The listener raises accuracy out of domain",
        "abstract",
        papers.MOST_GAINED,
        "GRPO + listener less that of GRPO, held-out",
        (LISTENER, GRPO, HELD_OUT, every),
    )
    yield gain(
        "listener_out_of_domain_clear",
        "The listener raises accuracy out of domain where voters are clear",
        "Table 5",
        papers.LISTENER_WITH.less(papers.GRPO_WITH),
        "GRPO + listener less that of GRPO, clear held-out pairs",
        (LISTENER, GRPO, HELD_OUT, is_clear),
    )
    for arm, name in (("own_soft_score", "its own score"), ("listener_only", "the listener's score")):
        yield gain(
            f"beats_{arm}",
            f"The listener beats a soft reward alone, of {name}",
            "Section 5",
            None,
            f"GRPO + listener less that of a soft reward of {name} alone, held-out",
            (LISTENER, arm, HELD_OUT, every),
        )


def _mean_claim() -> Claim:
    def take(judged: Judgements) -> Measured:
        one, three = (judged.mean_at(LISTENER, HELD_IN, k) for k in (1, 3))
        return crossed_measured_difference(three, one, none="this judge was asked fewer than 3 times")

    paper = papers.LISTENER_3.less(papers.LISTENER_1)
    return Claim(
        "mean_at_3",
        "The mean of three thoughts beats one thought (GRPO + listener)",
        "Table 2",
        paper,
        "accuracy of GRPO + listener by the mean score of three thoughts less that by one, held-in",
        _above(paper),
        (LISTENER,),
        take,
    )


def _trace_claims() -> Iterable[Claim]:
    fewer = papers.CONTRADICTIONS_GRPO.less(papers.CONTRADICTIONS_LISTENER)
    for key, by, sample in (
        ("contradictions_by_rule", "by rule", Judgements.contradictions),
        ("contradictions_by_listener", "by an independent listener", Judgements.doubts),
    ):
        yield Claim(
            key,
            f"The listener lowers contradictions ({by})",
            "Table 4",
            fewer,
            f"contradictions of GRPO less those of GRPO + listener, clear held-out pairs, {by}",
            _above(fewer),
            (GRPO, LISTENER),
            _less(sample, GRPO, LISTENER, is_clear),
        )
    lost = papers.GRPO_WITH.less(papers.GRPO_WITHOUT)
    yield Claim(
        "grpo_needs_no_thinking",
        "Without thinking GRPO loses nothing",
        "Table 5",
        lost,
        "accuracy of GRPO with thinking less that without, clear held-out pairs",
        AtMost(RESOLUTION),
        (GRPO,),
        lambda judged: _thinking(judged, GRPO),
    )
    relied = papers.LISTENER_WITH.less(papers.LISTENER_WITHOUT)
    yield Claim(
        "listener_needs_thinking",
        "Without thinking the listener's reasoner loses",
        "Table 5",
        relied,
        "accuracy of GRPO + listener with thinking less that without, clear held-out pairs",
        _above(relied),
        (LISTENER,),
        lambda judged: _thinking(judged, LISTENER),
    )
    more = relied.less(lost)
    yield Claim(
        "listener_relies_more",
        "The listener's reasoner relies on its thoughts more",
        "Table 5",
        more,
        "what thinking adds to GRPO + listener less what it adds to GRPO, clear held-out pairs",
        _above(more),
        (LISTENER, GRPO),
        _relies_more,
    )


def _figure_claims() -> Iterable[Claim]:
    def near_and_far(arm: str) -> Callable[[Judgements], Measured]:
        return lambda judged: crossed_measured_difference(
            judged.where_apart(arm, HELD_IN, lambda distance: distance < HALF_APART),
            judged.where_apart(arm, HELD_IN, lambda distance: distance >= HALF_APART),
            none="no completion is near its listener, or none is far from it",
        )

    def voted(arm: str) -> Callable[[Judgements], Measured]:
        def take(judged: Judgements) -> Measured:
            most = judged.rollouts(arm, HELD_OUT)
            if most < 2:
                return undefined("one thought a pair has nothing to vote on", "points")
            return crossed_measured_difference(
                judged.majority_at(arm, HELD_OUT, most), judged.majority_at(arm, HELD_OUT, 1)
            )

        return take

    for arm, name in ((GRPO, "GRPO"), (LISTENER, "GRPO + listener")):
        yield Claim(
            f"disagreement_{arm}",
            f"Accuracy falls with the listener's disagreement ({name})",
            "Figure 2",
            None,
            f"accuracy of {name} where the listener is less than half of the way apart, less that where it is more, "
            "held-in",
            _above(None),
            (arm,),
            near_and_far(arm),
        )
    for arm, name in ((GRPO, "GRPO"), (LISTENER, "GRPO + listener")):
        yield Claim(
            f"majority_{arm}",
            f"A majority vote adds little out of domain ({name})",
            "Figure 4",
            None,
            f"accuracy of the majority of all thoughts of {name} less that of one answer, held-out",
            AtMost(RESOLUTION),
            (arm,),
            voted(arm),
        )


def _control_claims() -> Iterable[Claim]:
    """Scores that know nothing of the votes should do less than the listener; another good listener as much."""
    above, hardly = _above(None), AtMost(RESOLUTION)
    for arm, name, more, rule in (
        ("random_listener", "random numbers", "more", above),
        ("shuffled_listener", "scores of other prompts", "more", above),
        ("mismatched_listener", "a listener of another architecture", "hardly more", hardly),
    ):
        yield Claim(
            f"{arm}_accuracy",
            f"GRPO + listener is {more} accurate than under {name}",
            "review",
            None,
            f"accuracy of GRPO + listener less that under {name}, held-out",
            rule,
            (LISTENER, arm),
            _more_accurate(arm),
        )
        yield Claim(
            f"{arm}_contradictions",
            f"GRPO + listener is {more} consistent than under {name}",
            "review",
            None,
            f"contradictions under {name} less those of GRPO + listener, held-out, by rule",
            rule,
            (arm, LISTENER),
            _less(Judgements.contradictions, arm, LISTENER, every),
        )


def _above(paper: Published | None) -> Above:
    """Looks for an effect as large as the paper's; "up to 6 points" names none that a smaller one would contradict."""
    return Above() if paper is None or paper.at_most else Above(paper.value)


def _more_accurate(arm: str) -> Callable[[Judgements], Measured]:
    return lambda judged: crossed_measured_difference(judged.mean_at(LISTENER, HELD_OUT), judged.mean_at(arm, HELD_OUT))


def _less(
    sample: Callable[[Judgements, str, str, Keep], Crossed], more: str, less: str, keep: Keep
) -> Callable[[Judgements], Measured]:
    return lambda judged: crossed_measured_difference(
        sample(judged, more, HELD_OUT, keep),
        sample(judged, less, HELD_OUT, keep),
        none="no contradiction was looked for",
    )


def _thinking(judged: Judgements, arm: str) -> Measured:
    return crossed_measured_difference(
        judged.with_thinking(arm, HELD_OUT, is_clear),
        judged.without_thinking(arm, HELD_OUT, is_clear),
        none="no answer without thoughts was asked for",
    )


def _relies_more(judged: Judgements) -> Measured:
    added = [
        judged.with_thinking(arm, HELD_OUT, is_clear).less(judged.without_thinking(arm, HELD_OUT, is_clear))
        for arm in (LISTENER, GRPO)
    ]
    return crossed_measured_difference(*added, none="no answer without thoughts was asked for")
