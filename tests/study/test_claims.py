import pytest

from lit_listener.evaluation.results import Measured
from lit_listener.evaluation.statistics import Interval
from lit_listener.study import papers
from lit_listener.study.claims import all_claims, findings
from lit_listener.study.judgements import Judgements
from lit_listener.study.verdicts import Above, Finding
from tests.study.simulating import Judge, study

DIRECTED = (
    "zero_shot",
    "listener_in_domain",
    "sft_out_of_domain",
    "listener_out_of_domain",
    "listener_out_of_domain_clear",
    "contradictions_by_rule",
    "contradictions_by_listener",
    "listener_needs_thinking",
    "listener_relies_more",
    "disagreement_grpo",
    "disagreement_grpo_listener",
    "random_listener_accuracy",
    "random_listener_contradictions",
)


@pytest.fixture(scope="module")
def verdicts(judged):
    return {finding.claim.key: finding for finding in findings(judged)}


@pytest.mark.parametrize("key", [*DIRECTED, "rating_out_of_domain", "grpo_needs_no_thinking"])
def test_effects_that_are_there_are_found(verdicts, key):
    assert verdicts[key].decision.verdict == "holds", verdicts[key].sentence


def test_effects_turned_round_are_found_turned_round(turned_round):
    found = {finding.claim.key: finding.decision.verdict for finding in findings(turned_round)}
    assert {key: found[key] for key in DIRECTED} == dict.fromkeys(DIRECTED, "the opposite")
    assert found["grpo_needs_no_thinking"] == "does not hold"


def test_few_pairs_tell_nothing():
    few = Judgements(study({key: Judge() for key in ("start", "grpo", "grpo_listener")}, seeds=2, pairs=6))
    equal = [each for each in findings(few) if each.claim.key.startswith(("zero", "listener", "contradictions"))]
    assert len(equal) == 9
    assert {finding.decision.verdict for finding in equal} == {"cannot be told"}


def test_a_vote_that_helps_much_is_no_small_one():
    # Three answers of 0.7 vote rightly with 0.7³ + 3 · 0.7² · 0.3 = 0.784, up to what is common to a pair: +8 points.
    many = Judgements(study({"grpo": Judge(held_out=0.7)}, rollouts=3, pairs=150, spread=0.0))
    found = {finding.claim.key: finding for finding in findings(many)}["majority_grpo"]
    assert 0.05 < found.ours.interval.mean < 0.11
    assert found.decision.verdict == "does not hold"


def test_the_mean_of_three_thoughts_is_asked_of_three():
    # Scores of three answers, each right with 0.7, average to the side of the majority.
    judge = {"grpo_listener": Judge(held_in=0.7)}
    three = {each.claim.key: each for each in findings(Judgements(study(judge, rollouts=3, pairs=150, spread=0.0)))}
    assert three["mean_at_3"].decision.verdict == "holds"
    two = {each.claim.key: each for each in findings(Judgements(study(judge, rollouts=2)))}
    assert two["mean_at_3"].decision.because == "this judge was asked fewer than 3 times"


def test_an_arm_that_is_not_there_is_named(verdicts):
    finding = verdicts["beats_listener_only"]
    assert finding.decision.verdict == "cannot be told"
    assert finding.decision.because == "this study has no such arm: listener_only"
    assert "not measured" in finding.sentence


def test_sentences_tell_ours_and_the_papers(verdicts):
    sentence = verdicts["contradictions_by_rule"].sentence
    assert sentence.startswith("Contradictions of GRPO less those of GRPO + listener, clear held-out pairs, by rule: +")
    assert "the paper has +1.8 (Table 4). Holds: the whole interval lies above 0." in sentence


def test_claims_are_of_the_papers_numbers():
    claims = {claim.key: claim for claim in all_claims()}
    assert len(claims) == len(all_claims())
    # By hand from Tables 2 to 5: 67.2 - 55.4, 67.2 - 66.9, 67.7 - 67.4, 67.4 - 67.2, 10.1 - 8.3, 76 - 70 and
    # (76 - 70) - (72 - 73).
    by_hand = {
        "zero_shot": 0.118,
        "zero_shot_instruct": 0.118,
        "sft_in_domain": 0.003,
        "mean_at_3": 0.003,
        "listener_in_domain": 0.002,
        "contradictions_by_rule": 0.018,
        "listener_needs_thinking": 0.06,
        "listener_relies_more": 0.07,
    }
    for key, value in by_hand.items():
        assert claims[key].paper.value == pytest.approx(value, abs=1e-9)
        assert isinstance(claims[key].rule, Above)
        assert claims[key].rule.claimed == claims[key].paper.value


def test_up_to_so_much_is_no_effect_that_a_smaller_one_contradicts():
    claim = {claim.key: claim for claim in all_claims()}["listener_out_of_domain"]
    assert claim.paper.points == "up to +6.0"
    # From nothing to +5 points, all is as the paper says; below the one point that is looked for, it is not.
    for high, verdict in ((0.05, "cannot be told"), (0.009, "does not hold")):
        ours = Measured(Interval(0.0, -0.01, high), 100, 40, "points")
        decision = claim.rule.decide(ours)
        assert decision.verdict == verdict
        assert "the paper has up to +6.0 (abstract)" in Finding(claim, ours, decision).sentence


@pytest.mark.parametrize("gain", ["accuracy", "contradictions"])
def test_a_good_listener_of_another_architecture_should_do_as_well_and_noise_should_not(gain):
    rules = {claim.key: claim.rule for claim in all_claims()}
    as_well, worse = Measured(Interval(0.0, -0.008, 0.008), 9, 9), Measured(Interval(0.3, 0.2, 0.4), 9, 9)
    for control in ("random_listener", "shuffled_listener"):
        rule = rules[f"{control}_{gain}"]
        assert [rule.decide(found).verdict for found in (as_well, worse)] == ["does not hold", "holds"]
    rule = rules[f"mismatched_listener_{gain}"]
    assert [rule.decide(found).verdict for found in (as_well, worse)] == ["holds", "does not hold"]


def test_errors_of_the_papers_differences_add_as_squares():
    # sqrt(1.2² + 1.2²) = 1.697 points; a number without an error makes a difference without one.
    assert papers.GRPO_WITH.less(papers.GRPO_WITHOUT).error == pytest.approx(0.01697, abs=1e-5)
    assert papers.GRPO.less(papers.ZERO_SHOT).error is None
    assert papers.LISTENER_WITH.less(papers.CONTRADICTIONS_GRPO).where == "Table 5, Table 4"
