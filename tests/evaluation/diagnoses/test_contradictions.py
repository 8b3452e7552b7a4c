import math

import pytest

from lit_listener.evaluation.diagnoses.contradictions import p_answered, table_4
from tests.evaluation.reading import cell, means


@pytest.mark.parametrize(
    ("answer", "p_second", "expected"), [(1, 0.75, 0.75), (0, 0.75, 0.25), (None, 0.75, None), (1, None, None)]
)
def test_p_answered(predict, answer, p_second, expected):
    assert p_answered(predict(answer=answer), p_second) == expected


@pytest.fixture
def rows(predict):
    return [
        predict(prompt_id="x", contradicts=True, p_contradiction=0.75, independent_p_second=0.125),
        predict(prompt_id="x", contradicts=True, label=0, p_contradiction=0.5, independent_p_second=0.5),
        predict(prompt_id="y", answer=0, label=0, p_contradiction=0.25, independent_p_second=0.25),
        predict(prompt_id="y", stated_verdict=None, listener_p_second=None, independent_p_second=None),
        predict(prompt_id="z", label=None, share_a=0.5, answer=0, listener_p_second=0.25, p_contradiction=0.0),
        predict(prompt_id="z", answer=None, p_second=None, contradicts=True, p_contradiction=1.0),  # unreadable
    ]


def test_table_by_hand(rows):
    table = table_4({"mine": rows})
    assert means(table) == pytest.approx(
        {
            "contradiction/by_rule": 2 / 5,
            "contradiction/stated_share": 4 / 5,
            # 0.75 yes; 0.5, 0.25 and 0 no
            "contradiction/text_judge": 1 / 4,
            "contradiction/text_judge_soft": 1.5 / 4,
            # the answered image: 0.625, 0.625, 1 - 0.625 (below half), -, 1 - 0.25
            "contradiction/listener": 1 / 4,
            # 0.125 (below half), 0.5, 0.75, -, -
            "contradiction/independent": 1 / 3,
            "contradiction/independent_soft": (0.875 + 0.5 + 0.25) / 3,
            "contradiction/accuracy_given": 1 / 2,
            # right, right; the tie does not count
            "contradiction/accuracy_without": 1.0,
        },
        abs=1e-12,
    )
    assert cell(table, "contradiction/by_rule").clusters == 3
    assert cell(table, "contradiction/text_judge_soft").unit == "probability"
    assert "Completions without a readable answer are left out: 1 (mine)." in table.notes
    assert (table.key, table.paper) == ("table_4", "Listener paper, Table 4")


def test_what_was_not_asked_says_which_option_to_set(predict):
    table = table_4({"mine": [predict(listener_p_second=None), predict(prompt_id="y")], "quiet": []})
    assert cell(table, "contradiction/text_judge").reason == (
        "no text judge was asked: set model.evaluation.text_judge"
    )
    for key in ("contradiction/independent", "contradiction/independent_soft"):
        assert cell(table, key).reason == (
            "no independent listener was asked: set model.evaluation.independent_listener"
        )
    assert cell(table, "contradiction/accuracy_given").reason == "no judged completion contradicts its trace"
    assert cell(table, "contradiction/listener").interval.mean == 0.0
    assert all(line.cells[1].reason for line in table.lines)
    assert cell(table, "contradiction/text_judge", 1).reason == "no answer can be read"
    assert not any("left out" in note for note in table.notes)


def test_nothing_heard_and_nothing_readable(predict):
    unheard = table_4({"mine": [predict(listener_p_second=None)]})
    assert cell(unheard, "contradiction/listener").reason == "no listener heard these traces"
    unread = table_4({"mine": [predict(answer=None, p_second=None, contradicts=True)]})
    assert all(line.cells[0].rows == 0 and math.isnan(line.cells[0].interval.mean) for line in unread.lines)
    assert cell(unread, "contradiction/by_rule").reason == "no answer can be read"
