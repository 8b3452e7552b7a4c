import base64
import io
import os
import re
import shutil
from html.parser import HTMLParser

import pytest
from PIL import Image

from lit_listener.judging.display.exhibit import Exhibit
from lit_listener.judging.display.page import comparison_page, ranking_page
from tests.judging.display.conftest import HOSTILE, comparison, ranking, shown, trace

VOID = {"meta", "img"}
TAGS = {"html", "head", "title", "style", "body", "header", "main", "section", "h1", "h2", "dl", "dt", "dd", "p", "ol"}
TAGS |= {"li", "div", "span", "small", "details", "summary"} | VOID


class Read(HTMLParser):
    """A page's tags with their attributes, and its texts; fails where tags are not closed as they were opened."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self._open = [], [], []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    def pictures(self):
        found = []
        for attrs in self.all("img"):
            kind, data = re.fullmatch("data:image/(png|jpeg);base64,(.*)", attrs["src"]).groups()
            image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
            assert image.format == kind.upper()
            assert (attrs["width"], attrs["height"]) == tuple(map(str, image.size))
            found.append((attrs["alt"], image))
        return found


def test_ranking_stands_best_first_with_its_pictures_and_traces(judged):
    (ranked, exhibit), _ = judged
    read = Read(ranking_page(ranked, exhibit))
    pictures = read.pictures()
    assert [alt for alt, _ in pictures] == [f"img{place}.png" for place in ranked.order]
    for place, (_, image) in zip(ranked.order, pictures, strict=True):  # small ones are as they were
        assert image.tobytes() == exhibit.images[place].picture.image.tobytes()
    text = " ".join(read.texts)
    assert [float(each) for each in re.findall(r"(\d\.\d{3})  score", text)] == [
        round(ranked.scores[place], 3) for place in ranked.order
    ]
    assert len(read.all("details")) == 4  # the anchor has none
    for each in (each for its in ranked.traces for each in its):
        assert each.thinking.strip() in read.texts
    assert f"the anchor, img{ranked.anchor}.png (chosen by seed 0)" in text


def test_comparison_shows_both_images_and_the_listener(judged):
    _, (compared, exhibit) = judged
    text = " ".join(Read(comparison_page(compared, exhibit)).texts)
    numbers = re.findall(r"(\d\.\d{3})  probability of being preferred the listener's probability: (\d\.\d{3})", text)
    p, heard = compared.p_a, compared.listener_p_a
    assert numbers == [(f"{p:.3f}", f"{heard:.3f}"), (f"{1 - p:.3f}", f"{1 - heard:.3f}")]
    assert "4 traces" in text


def test_the_page_needs_nothing_outside_it_and_no_script(judged):
    for page in (ranking_page(*judged[0]), comparison_page(*judged[1])):
        read = Read(page)
        assert {tag for tag, _ in read.tags} <= TAGS
        assert all(attrs["src"].startswith("data:") for attrs in read.all("img"))
        assert not any("href" in attrs or any(name.startswith("on") for name in attrs) for _, attrs in read.tags)
        assert "url(" not in page
        assert "@import" not in page
        policy = next(attrs["content"] for attrs in read.all("meta") if "http-equiv" in attrs)
        assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_texts_of_others_are_plain_text():
    odd = comparison(trace("a", 0.9, thinking=HOSTILE), trace("b", 0.9), prompt=HOSTILE)
    exhibit = Exhibit(HOSTILE, (shown(HOSTILE), shown(f"2{HOSTILE}")), shown(f"3{HOSTILE}"))
    visible = HOSTILE.replace("\x1b", "\ufffd").replace("\u202e", "\ufffd")
    for page in (
        comparison_page(odd, exhibit),
        ranking_page(ranking(odd, odd, prompt=HOSTILE), exhibit),
    ):
        read = Read(page)
        assert not read.all("script")
        assert visible in read.texts  # prompt, judge, thoughts
        assert visible in [attrs["alt"] for attrs in read.all("img")]
        assert "\x1b" not in page
        assert "\u202e" not in page


def test_large_pictures_are_made_small():
    exhibit = Exhibit("m", (shown("wide", (1024, 512)), shown("tall", (100, 2000))))
    before = exhibit.images[0].picture.image.size
    page = comparison_page(comparison(trace("a", 0.9), trace("b", 0.9)), exhibit)
    (_, wide), (_, tall) = Read(page).pictures()
    assert (wide.size, wide.format) == ((256, 128), "JPEG")
    assert tall.size == (13, 256)  # 100 x 256 / 2000 = 12.8
    assert exhibit.images[0].picture.image.size == before  # what was judged is left as it is


def test_marks_and_an_anchor_that_is_none_of_the_images():
    odd = comparison(trace("a", 0.9, forced=True, answer=None), trace("b", 0.2, contradicts=True))
    fine = comparison(trace("a", 0.9), trace("b", 0.9))
    exhibit = Exhibit("m", (shown("odd"), shown("fine")), shown("anchor.png", colour="blue"))
    read = Read(ranking_page(ranking(odd, fine), exhibit))
    assert [alt for alt, _ in read.pictures()] == ["fine", "odd", "anchor.png"]
    tags = [attrs for attrs in read.all("span") if attrs.get("class", "").startswith("tag")]
    assert len(tags) == 3
    assert {"orders disagree", "1 of 2 forced", "1 of 2 contradicting", "The anchor"} <= set(read.texts)
    at_places = Read(ranking_page(ranking(odd, None, anchor=1), exhibit))
    assert "The anchor" not in at_places.texts
    assert "anchor" in at_places.texts


@pytest.mark.slow
def test_the_page_fits_a_phone_and_a_desk_in_light_and_dark(judged, tmp_path):
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    chromium = shutil.which("chromium")
    if chromium is None and os.environ.get("CI") != "true":
        pytest.skip("no chromium on the PATH")
    (ranked, exhibit), _ = judged
    (tmp_path / "page.html").write_text(ranking_page(ranked, exhibit), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width in (390, 1280):
            grounds = set()
            for scheme in ("light", "dark"):
                page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
                asked: list[str] = []
                page.on("request", lambda request, asked=asked: asked.append(request.url))
                page.goto((tmp_path / "page.html").as_uri())
                for summary in page.locator("summary").all():
                    summary.click()
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                assert page.locator(".thoughts").first.is_visible()
                assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
                assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
                grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
                page.close()
            assert len(grounds) == 2
        browser.close()
