from lit_listener.evaluation.judged_pairs import judged_pairs
from lit_listener.evaluation.protocols.cells import exact, note_of_runs, shares_told
from tests.evaluation.protocols.judging import row


def test_a_note_that_all_runs_share_is_said_once():
    assert note_of_runs({"x": "Same.", "y": "Same."}) == ("Same.",)
    assert note_of_runs({"x": "One.", "y": "Two."}) == ("x: One.", "y: Two.")
    assert note_of_runs({"x": "", "y": "Two."}) == ("y: Two.",)
    assert note_of_runs({"x": "", "y": ""}) == note_of_runs({}) == ()


def test_an_exact_number_counts_pairs_and_prompts():
    number = exact(7, judged_pairs([row("x"), row("y"), row("z", prompt="q")]), "count")
    assert (number.interval.mean, number.interval.half_width, number.rows, number.clusters) == (7, 0, 3, 2)


def test_ranked_lists_tell_no_shares():
    assert not shares_told(judged_pairs([row("x", share_a=0.0), row("y", share_a=0.5), row("z", share_a=1.0)]))
    assert shares_told(judged_pairs([row("x", share_a=0.0), row("y", share_a=0.7)]))
    assert shares_told(judged_pairs([row("x", share_a=1.0, votes=3)]))
    assert not shares_told([])
