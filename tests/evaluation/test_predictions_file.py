from dataclasses import fields

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lit_listener.evaluation.prediction import Prediction
from lit_listener.evaluation.predictions_file import SCHEMA, read_predictions, write_predictions


@pytest.fixture
def rows(predict):
    optional = ("label", "answer", "p_second", "listener_p_second", "listener_p_correct", "stated_verdict")
    return [
        predict(),
        predict(**dict.fromkeys(optional), contradicts=True, truncated=True, trace="", first="b"),
        predict(p_second=0.1 + 0.2, share_a=1 / 3, prompt="größer, 更好\n\"quoted\", 'twice'", rollout=9),
        predict(label=0, answer=0, p_second=0.0, listener_p_second=1.0, stated_verdict=0, length=0),
    ]


def test_comes_back_exactly(tmp_path, rows):
    path = tmp_path / "run" / "predictions.parquet"
    write_predictions(rows, path)
    back = read_predictions(path)
    assert back == rows
    for row in back:
        # 0 == False and 1 == 1.0 in Python: the types must come back as well.
        assert type(row.contradicts) is bool
        assert type(row.length) is int
        assert type(row.label) in (int, type(None))
        assert type(row.share_a) is float


def test_no_rows(tmp_path):
    path = tmp_path / "predictions.parquet"
    write_predictions([], str(path))
    assert read_predictions(str(path)) == []
    assert pq.read_schema(path).equals(SCHEMA)


def test_the_columns_are_the_fields():
    assert SCHEMA.names == [field.name for field in fields(Prediction)]
    # What may be None in the record may be empty in the file, and nothing else.
    nullable = {field.name for field in fields(Prediction) if "None" in str(field.type)}
    assert {field.name for field in SCHEMA if field.nullable} == nullable


def test_a_bad_row_leaves_the_old_file(tmp_path, rows, predict):
    path = tmp_path / "predictions.parquet"
    write_predictions(rows, path)
    with pytest.raises(pa.ArrowInvalid):
        write_predictions([predict(length="long")], path)
    assert read_predictions(path) == rows
    assert list(tmp_path.iterdir()) == [path]


def test_missing_and_wrong_columns_are_named(tmp_path, rows):
    path = tmp_path / "predictions.parquet"
    write_predictions(rows, path)
    table = pq.read_table(path)
    broken = table.drop_columns(["trace", "share_a"])
    broken = broken.set_column(SCHEMA.get_field_index("length"), "length", pa.array(["20"] * 4))
    broken = broken.set_column(SCHEMA.get_field_index("rollout"), "rollout", pa.array([0, None, 1, None]))
    pq.write_table(broken, path)
    with pytest.raises(ValueError, match="does not hold predictions") as caught:
        read_predictions(path)
    assert str(caught.value).startswith(str(path))
    for fault in (
        "column 'trace' is missing",
        "column 'share_a' is missing",
        "column 'length' must be int64, got string",
        "column 'rollout' must be filled, got 2 empty rows",
    ):
        assert fault in str(caught.value)


def test_other_columns_and_long_text_are_read(tmp_path, rows):
    path = tmp_path / "predictions.parquet"
    write_predictions(rows, path)
    table = pq.read_table(path)
    place = SCHEMA.get_field_index("trace")
    table = table.set_column(place, "trace", table.column("trace").cast(pa.large_string()))
    pq.write_table(table.append_column("note", pa.array(["mine"] * 4)), path)
    assert read_predictions(path) == rows


def test_no_file_and_no_parquet(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no predictions at .*absent\.parquet"):
        read_predictions(tmp_path / "absent.parquet")
    path = tmp_path / "predictions.parquet"
    path.write_text("pair_id,prompt_id\n")
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        read_predictions(path)


def test_level_rows_come_back_and_older_files_have_none(tmp_path, predict):
    path = tmp_path / "predictions.parquet"
    rows = [predict(answer=None, level=True, likeliest_p_second=0.5), predict(likeliest_p_second=0.125)]
    write_predictions(rows, path)
    assert read_predictions(path) == rows
    pq.write_table(pq.read_table(path).drop_columns(["level", "likeliest_p_second"]), path)
    before = read_predictions(path)
    assert [row.level for row in before] == [False, False]
    assert [row.likeliest_p_a for row in before] == [row.p_a for row in before]
