import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from lit_listener.evaluation.report.drawing import png
from lit_listener.evaluation.report.markup import alternative_text, breakable, plot_html, table_html
from lit_listener.evaluation.report.page import page
from lit_listener.evaluation.report.sample import Sample, sample
from lit_listener.evaluation.results import Curve, Line, Point, ResultPlot, ResultTable, undefined
from lit_listener.evaluation.section import Section
from tests.evaluation.report.conftest import HOSTILE, made_up_runs

VOID = {"meta", "link", "img", "br", "wbr", "input"}


class Read(HTMLParser):
    """The elements of a page, its text outside scripts and the contents of its scripts; refuses unbalanced tags."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.scripts, self.open = [], "", [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif not self.open or self.open[-1] != "style":
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def drawn(runs, images) -> Sample:
    return sample(runs, images)


@pytest.fixture
def whole(sections, drawn, about):
    return page("Evaluation", sections, drawn, about, {("held_in", "figure_3"): png(sections[0].plots[0])})


def test_hostile_texts_stay_texts(whole):
    read = Read(whole)
    assert len(read.scripts) == 2  # the payload and the page's own; none of the data's
    assert not [attributes for _, attributes in read.elements if any(name.startswith("on") for name in attributes)]
    assert f"By generator {HOSTILE}" in read.text
    payload = json.loads(read.scripts[0])
    first = next(pair for pair in payload["pairs"] if pair["id"] == "pair-0000")
    assert first["prompt"] == HOSTILE
    assert first["judged"]["listener_grpo"]["rows"][0]["trace"] == HOSTILE
    assert "<" not in read.scripts[0]
    assert "innerHTML" not in read.scripts[1]


def test_every_text_of_a_result_is_escaped():
    point = Point(0.5, undefined(HOSTILE), HOSTILE)
    table = ResultTable(
        HOSTILE, HOSTILE, (HOSTILE,), (Line(HOSTILE, HOSTILE, (undefined(HOSTILE),)),), HOSTILE, (HOSTILE,)
    )
    plot = ResultPlot("plot", HOSTILE, HOSTILE, HOSTILE, (Curve(HOSTILE, (point,)),), paper=HOSTILE, notes=(HOSTILE,))
    text = page(HOSTILE, [Section(HOSTILE, [table], [plot])], None, {HOSTILE: HOSTILE, "m": {HOSTILE: [HOSTILE]}})
    read = Read(text)
    assert len(read.scripts) == 2
    assert not [attributes for _, attributes in read.elements if any(name.startswith("on") for name in attributes)]
    assert not read.all("img")
    assert read.text.count(HOSTILE) > 20


def test_nothing_comes_from_a_network(whole):
    read = Read(whole)
    addresses = [
        attributes[name] for _, attributes in read.elements for name in ("src", "href") if attributes.get(name)
    ]
    assert addresses
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert not re.search(r"url\(|@import|fetch\(|https?://", whole)
    policy = next(meta["content"] for meta in read.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'")


def test_every_link_within_the_page_leads_somewhere(whole):
    read = Read(whole)
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {link["href"][1:] for link in read.all("a") if link["href"].startswith("#")}
    assert links <= set(ids)
    assert {"samples", "held_in-table_2", "held_in-figure_3"} <= links


def test_what_stands_in_the_head(whole):
    text = Read(whole).text
    for told in ("2026-03-01 12:00 UTC", "both display orders, 3 rollouts", "runs/listener_grpo", "2.13.0"):
        assert told in text


def test_table(table):
    read = Read(table_html(table, "held_in"))
    for told in ("56.3%", "[54.0, 58.5]", "-1.2", "[-3.0, +0.5]", "1,234", "A tie of the soft"):
        assert told in read.text
    assert {"class": "badge"} in read.all("span")
    assert "Listener paper, Table 2; soft-rewards paper, Table 1" in read.text
    cells = read.all("td")
    assert cells[1]["title"] == "240 values, 120 prompts"
    assert cells[3]["title"] == "each pair was shown in one order"
    marks = [link["href"] for link in read.all("a") if link.get("class") == "mark"]
    assert marks == ["#held_in-table_2-note-1"] * 2 + ["#held_in-table_2-note-2"]
    assert [note["value"] for note in read.all("li") if "value" in note] == ["1", "2"]
    (download,) = [link for link in read.all("a") if "download" in link]
    assert download["download"] == "held_in-table_2.csv"
    assert download["href"].startswith("data:text/csv;charset=utf-8,key%2Cname%2Crun")


def test_plot(plot):
    picture = png(plot)
    read = Read(plot_html(plot, "held_in", picture))
    (image,) = read.all("img")
    assert image["alt"] == alternative_text(plot)
    assert int(image["width"]) > 800
    assert "base_model_before_training at 50–60%: no pair has so little agreement" in read.text
    assert "The last bin holds full agreement too." in read.text
    without = Read(plot_html(plot, "held_in", None))
    assert not without.all("img")
    assert alternative_text(plot) in without.text


def test_alternative_text(plot):
    text = alternative_text(plot)
    assert text.startswith("Line plot of accuracy against agreement of the voters. base_model_before_training: 50–60% ")
    assert "50–60% not defined, 60–70% 58.0%" in text
    long = replace(plot, curves=plot.curves * 9)
    assert alternative_text(long).endswith("Their points are in the CSV file.")


def test_breakable():
    assert breakable("a_b/<c>&") == "a_<wbr>b/<wbr>&lt;c&gt;&amp;"


def test_payload_tells_probabilities_of_image_a(predict, drawn):
    # Shown b first, p_second is image a's: 0.75; shown a first it is 1 - 0.75.
    rows = [predict(first="a", label=1), predict(first="b", label=0, answer=0, independent_p_second=0.1)]
    text = page("t", [], sample({"run": rows}, lambda row: None), {})
    (pair,) = json.loads(Read(text).scripts[0])["pairs"]
    by_order = {row["first"]: row for row in pair["judged"]["run"]["rows"]}
    assert (by_order["a"]["p"], by_order["a"]["listener"], by_order["a"]["independent"]) == (0.25, 0.375, None)
    assert (by_order["b"]["p"], by_order["b"]["listener"], by_order["b"]["independent"]) == (0.75, 0.625, 0.1)
    assert (by_order["a"]["answer"], by_order["b"]["answer"]) == ("b", "b")
    assert pair["judged"]["run"]["p"] == 0.5
    assert pair["images"][0] == {"picture": None, "reason": "there is no image", "generator": "crisp"}


def test_a_page_of_nothing(table):
    text = Read(page("Empty", [], None, {})).text
    assert "Empty" in text
    assert "Judged pairs" not in text
    none_judged = Read(page("Empty", [], sample({"run": []}, lambda row: None), {})).text
    assert "No pair was judged." in none_judged
    undefined_only = replace(table, lines=(replace(table.lines[0], cells=(undefined("why"),) * 2),))
    assert "why" in Read(page("Empty", [Section("", [undefined_only], [])], None, {})).text


def test_sampled_page_is_small(predict, images, sections, about):
    drawn = sample(made_up_runs(predict, 300), images)
    assert len(drawn.pairs) == 200
    text = page("Evaluation", sections, drawn, about)
    assert "200 of 300 judged pairs" in text
    assert len(text.encode()) < 5_000_000
