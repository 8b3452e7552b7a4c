from lit_listener.evaluation.judged_pairs import judged_pairs


def test_scores_that_cancel_are_level_whatever_the_rounding(predict):
    # A judge of positions only: p(a) is 1, 0.9, 0.5 with a first and 0, 0.1, 0.5 with b first, 2.4/3 and 0.6/3.
    rows = [
        predict(first=first, rollout=rollout, answer=1, label=int(first == "a"), p_second=p_second)
        for first in "ab"
        for rollout, p_second in enumerate((0.0, 0.1, 0.5))
    ]
    (pair,) = judged_pairs(rows)
    assert pair.p_a() == 0.5
    assert (pair.correct(), pair.correct(ties="half"), pair.correct(ties="right")) == (0.0, 0.5, 1.0)
    nearly = judged_pairs([predict(first="b", label=0, p_second=0.5 + 1e-9)])[0]
    assert nearly.p_a() == 0.5 + 1e-9
