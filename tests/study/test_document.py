import csv
import re

import pytest

from lit_listener.study import document
from lit_listener.study.claims import findings
from lit_listener.study.document import summary, write_document
from tests.study.simulating import Judge, study

COMMAND = "python -m lit_listener study --quick --run_dir 'runs/my study'"


@pytest.fixture(scope="module")
def written(as_claimed, tmp_path_factory):
    return write_document(as_claimed, tmp_path_factory.mktemp("docs"), COMMAND)


def test_it_says_how_it_was_made(written):
    head = written.read_text().split("## The claims")[0]
    assert head.startswith(f"# A simulated study\n\nWritten by `{COMMAND}`, ")
    # 7 arms of 4 seeds at 90 s are 42 minutes, and half of that two at a time.
    for told in (
        *("0123abc", "python 3.11.9, torch 2.9.0", "a processor, 2 cores", "2025-11-21", "7 arms, seeds 0, 1, 2, 3"),
        "42 minutes of process time in 28 runs, 2 at a time: about 21 minutes",
        "80 held-in (42 of them clear), 80 held-out (35 of them clear); each in both display orders, ",
        "up to 2 thoughts an order",
    ):
        assert told in head
    assert "**This is the quick form" not in head


def test_its_links_lead_to_files_beside_it(written):
    links = re.findall(r"\]\(([^)]+)\)", written.read_text())
    assert (
        len(links) == len(set(links)) == 8 + 8 + 4 + 2 + 1 + 1
    )  # pictures; CSVs of figures, tables, diagnostics, claims, runs
    assert {path.name for path in (written.parent / "reproduction").iterdir()} == {link.split("/")[1] for link in links}
    for link in links:
        assert (written.parent / link).stat().st_size > 0
        if link.endswith(".png"):
            assert (written.parent / link).read_bytes().startswith(b"\x89PNG")


def test_tables_are_whole(written):
    block = None
    for line in written.read_text().splitlines():
        if not line.startswith("|"):
            block = None
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        assert cells == (block or cells), line
        block = cells
    assert "| *controls, and soft rewards alone* |" in written.read_text()
    assert "nan" not in written.read_text().lower().replace("finance", "")


def test_verdicts_are_the_same_in_text_table_and_csv(written, judged):
    text = written.read_text()
    with (written.parent / "reproduction" / "claims.csv").open() as file:
        rows = {row["key"]: row for row in csv.DictReader(file)}
    for finding in findings(judged):
        claim = finding.claim
        assert rows[claim.key]["verdict"] == finding.decision.verdict
        assert re.search(rf"\| {re.escape(claim.says)} \|.*\| \*\*{finding.decision.verdict}\*\* \|", text)
        assert finding.sentence in text
    assert float(rows["zero_shot"]["mean"]) == pytest.approx(0.2, abs=0.1)
    assert rows["beats_listener_only"]["mean"] == ""
    runs = (written.parent / "reproduction" / "runs.csv").read_text().splitlines()
    assert runs[:2] == ["run,seconds", "arms/start/seed0/test,90.0"]


def test_the_paragraph_names_every_claim_once(judged):
    found = findings(judged)
    paragraph = summary(found)
    assert paragraph.count(f" of {len(found)})") >= 2
    phrases = re.sub(r"[^.]*? \(\d+ of \d+\): ", "", paragraph.lower()).replace(".", ";").split(";")
    assert sorted(phrase.strip() for phrase in phrases if phrase) == sorted(each.claim.says.lower() for each in found)
    assert "GRPO beats zero-shot reasoning" in paragraph
    assert "; a majority vote adds little" in paragraph.replace(": a majority", "; a majority")
    assert "†" not in paragraph


def test_a_gain_that_has_no_place_is_marked_where_it_is_not_found(judged, turned_round):
    marked = summary(findings(turned_round), {"listener_out_of_domain", "disagreement_grpo"})
    assert "the listener raises accuracy out of domain †" in marked
    assert marked.endswith("so that not finding it says nothing against the paper.")
    holding = [each for each in findings(judged) if each.decision.verdict == "holds"]
    assert len(holding) > 5
    assert "†" not in summary(holding, {each.claim.key for each in holding})


def test_the_quick_form_warns(tmp_path, monkeypatch):
    monkeypatch.setattr(document, "png", lambda plot: b"")  # pictures take most of the time
    judges = {key: Judge() for key in ("grpo", "grpo_listener")}
    text = write_document(study(judges, seeds=1, pairs=12, short=True), tmp_path, COMMAND).read_text()
    assert "**This is the quick form" in text
    assert "There is one seed, so that intervals are over prompts alone" in text


def test_nothing_is_left_half_written(tmp_path, monkeypatch):
    def broken(plot):
        raise OSError("disk full")

    monkeypatch.setattr(document, "png", broken)
    with pytest.raises(OSError, match="disk full"):
        write_document(study({"grpo": Judge()}, seeds=1, pairs=6), tmp_path, COMMAND)
    assert not list(tmp_path.rglob("*.*"))
