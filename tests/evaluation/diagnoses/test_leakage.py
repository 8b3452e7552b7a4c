import numpy as np
import pytest

from lit_listener.evaluation.diagnoses.leakage import leakage_table
from lit_listener.evaluation.statistics import clustered_difference
from tests.evaluation.reading import cell, means


def test_table_by_hand(predict):
    rows = [
        predict(prompt_id="x", listener_p_second=0.75, listener_p_second_stripped=0.5),  # right; half is not right
        predict(prompt_id="x", label=0, listener_p_second=0.25, listener_p_second_stripped=0.375),  # right; right
        predict(prompt_id="y", listener_p_second=0.25, listener_p_second_stripped=0.75, stated_verdict=None),
        predict(prompt_id="y", listener_p_second=0.875, listener_p_second_stripped=0.125),  # right; wrong
        predict(prompt_id="y", listener_p_second=1.0),  # heard one way only
        predict(prompt_id="y", listener_p_second=None, listener_p_second_stripped=1.0),
        predict(prompt_id="y", label=None, share_a=0.5, listener_p_second_stripped=1.0),
    ]
    table = leakage_table({"mine": rows})
    assert means(table) == pytest.approx(
        {
            "leakage/accuracy_kept": 3 / 4,
            "leakage/accuracy_stripped": 2 / 4,
            "leakage/accuracy_difference": 1 / 4,
            "leakage/p_correct_kept": (0.75 + 0.75 + 0.25 + 0.875) / 4,
            "leakage/p_correct_stripped": (0.5 + 0.625 + 0.75 + 0.125) / 4,
            "leakage/p_correct_difference": (0.25 + 0.125 - 0.5 + 0.75) / 4,
            "leakage/stated_share": 3 / 4,
        },
        abs=1e-12,
    )
    assert {line.cells[0].rows for line in table.lines} == {4}
    assert cell(table, "leakage/accuracy_difference").unit == "points"
    assert any("tied are left out: 1 (mine)." in note for note in table.notes)


def test_differences_are_the_paired_bootstrap(predict):
    rng = np.random.default_rng(1)
    names = [str(n // 3) for n in range(90)]
    kept, stripped = rng.random(90), rng.random(90)
    rows = [
        predict(prompt_id=name, listener_p_second=p, listener_p_second_stripped=q)
        for name, p, q in zip(names, kept, stripped, strict=True)
    ]
    table = leakage_table({"mine": rows})
    for key, sides in (
        ("leakage/p_correct_difference", (kept, stripped)),
        ("leakage/accuracy_difference", (kept > 0.5, stripped > 0.5)),
    ):
        expected = clustered_difference(sides[0], names, sides[1], names, paired=True)
        ours = cell(table, key).interval
        assert [ours.mean, ours.low, ours.high] == pytest.approx([expected.mean, expected.low, expected.high], abs=1e-9)


def test_reasons(predict):
    table = leakage_table(
        {
            "unasked": [predict()],
            "tied": [predict(label=None, share_a=0.5)],
            "apart": [predict(listener_p_second=None, listener_p_second_stripped=0.5), predict()],
            "empty": [],
        }
    )
    reasons = [cell(table, "leakage/accuracy_kept", column).reason for column in range(4)]
    assert reasons == [
        "no listener heard stripped traces: set model.evaluation.strip_verdicts, and a listener",
        "no completion is about a pair with an image that people prefer",
        "no completion was heard both ways",
        "no completion is about a pair with an image that people prefer",
    ]
