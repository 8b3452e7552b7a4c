"""The report's page as readers meet it: in a browser, on a screen and on a phone, in light and in the dark."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from lit_listener.evaluation.report.compose import write_report
from lit_listener.evaluation.report.sample import sample
from tests.browsing import CONTRASTS, chromium
from tests.evaluation.report.conftest import HOSTILE, made_up_images, made_up_runs

pytestmark = pytest.mark.slow

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def report(predict, sections, about, tmp_path_factory):
    runs = made_up_runs(predict, 60)
    folder = tmp_path_factory.mktemp("report")
    return write_report(tuple(runs), sections, sample(runs, made_up_images), folder, about)


@pytest.fixture
def opened(browser, report) -> Iterator[Page]:
    """The page on a desk; fails where it says anything on the console, or asks for anything but itself."""
    yield from _open(browser, report, viewport=DESK)


def _open(browser: Browser, report, **options) -> Iterator[Page]:
    page = browser.new_page(**options)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    yield page
    page.close()
    assert said == []
    assert {url for url in asked if not url.startswith("data:")} == {report.as_uri()}


def cards(page):
    return page.locator("#cards article")


def filter_button(page, name):
    return page.get_by_role("group", name="Which pairs").get_by_role("button", name=name)


def test_nothing_leaves_and_nothing_fails(opened):
    expect(cards(opened)).to_have_count(20)
    broken = "[...document.images].filter((image) => image.complete && !image.naturalWidth).length"
    assert opened.evaluate(broken) == 0
    # What a trace or a prompt holds is shown, not run.
    opened.get_by_label("Search").fill("onerror=alert")
    expect(cards(opened)).to_have_count(1)
    expect(cards(opened).locator("h3")).to_have_text(HOSTILE)
    assert opened.locator("#cards script, #cards img[onerror]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_looks(browser, report, viewport, scheme):
    for page in _open(browser, report, viewport=viewport, color_scheme=scheme):
        expect(cards(page)).to_have_count(20)
        for details in page.locator("details:not([open]) > summary").all()[:12]:
            details.click()
        assert page.evaluate("document.scrollingElement.scrollWidth") <= viewport["width"]
        outside = "[...document.querySelectorAll('main, .result, .pair, .toolbar, .plot img, button, input, select')]"
        assert page.evaluate(f"Math.max(...{outside}.map((e) => e.getBoundingClientRect().right))") <= viewport["width"]
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 200
        assert min(contrasts) >= [4.5, ""], min(contrasts)
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
        assert dark == (scheme == "dark")
        assert (
            page.evaluate("getComputedStyle(document.querySelector('.plot')).backgroundColor") == "rgb(255, 255, 255)"
        )
        texts = "[...document.querySelectorAll('td, small, li, summary, .trace')]"
        assert page.evaluate(f"Math.min(...{texts}.map((e) => parseFloat(getComputedStyle(e).fontSize)))") >= 12.0


def test_a_wide_table_scrolls_in_its_own_box(browser, report):
    for page in _open(browser, report, viewport=PHONE):
        box = page.locator(".scroll").nth(1)
        assert box.evaluate("box => box.scrollWidth > box.clientWidth")
        box.focus()  # and by keyboard
        for _ in range(50):  # a busy machine takes its time to scroll
            page.keyboard.press("ArrowRight")
            page.wait_for_timeout(50)
            if box.evaluate("box => box.scrollLeft") > 0:
                break
        assert box.evaluate("box => box.scrollLeft") > 0


def test_filters(opened, predict):
    # The made-up pairs: every 5th from the 2nd contradicts itself (12 of 60), every 7th from the 3rd is unreadable
    # in one order (3, 10, ..., 59: 9 of them).
    for name, count in (("Contradictions", 12), ("Unreadable", 9), ("All", 60)):
        button = filter_button(opened, name)
        expect(button).to_have_text(f"{name} ({count})")
        button.click()
        expect(button).to_have_attribute("aria-pressed", "true")
        expect(cards(opened)).to_have_count(min(count, 20))
        expect(opened.locator("#count")).to_have_text(f"Showing 1 to {min(count, 20)} of {count} pairs")
    filter_button(opened, "Unreadable").click()
    unread = cards(opened).first.locator("summary").filter(has_text="unreadable").first
    expect(unread).to_contain_text("B first, rollout 1: gives no answer unreadable")
    filter_button(opened, "Contradictions").click()
    for card in cards(opened).all():
        assert card.locator(".run > p .tag", has_text="contradiction").count()
    expect(filter_button(opened, "All")).to_have_attribute("aria-pressed", "false")


def test_search(opened):
    opened.get_by_label("Search").fill("  ZEBRA-17. ")  # in a trace, in other letters
    expect(cards(opened)).to_have_count(1)
    expect(cards(opened).locator("h3")).to_have_text("a watercolour of 17 foxes under a red umbrella")
    expect(filter_button(opened, "Contradictions")).to_have_text("Contradictions (1)")  # 17 = 5 * 3 + 2
    opened.get_by_label("Search").fill("no such thing")
    expect(cards(opened)).to_have_count(0)
    expect(opened.locator("#count")).to_contain_text("No pair is like that")


def test_pages(opened):
    place, following, previous = opened.locator("#place"), opened.locator("#next"), opened.locator("#previous")
    expect(place).to_have_text("Page 1 of 3")
    expect(previous).to_be_disabled()
    first = cards(opened).first.locator(".facts").text_content()
    following.click()
    expect(place).to_have_text("Page 2 of 3")
    assert cards(opened).first.locator(".facts").text_content() != first
    following.click()
    expect(following).to_be_disabled()
    filter_button(opened, "Unreadable").click()  # another filter begins with its first page
    expect(place).to_be_hidden()
    expect(cards(opened)).to_have_count(9)


def test_one_run_and_one_source(opened):
    expect(cards(opened).first.locator(".run")).to_have_count(2)
    opened.get_by_label("Run").select_option("listener_grpo")
    expect(cards(opened).first.locator(".run h4")).to_have_text(["listener_grpo"])
    errors = int(filter_button(opened, "Errors").text_content().split("(")[1][:-1])
    opened.get_by_label("Run").select_option("any run")
    assert int(filter_button(opened, "Errors").text_content().split("(")[1][:-1]) > errors
    opened.get_by_label("Source").select_option("held_in")
    expect(filter_button(opened, "All")).to_have_text("All (30)")


def test_a_card(opened):
    opened.get_by_label("Search").fill("pair-0010")
    card = cards(opened)
    expect(card.locator(".none").first).to_have_text("Image A is not here: there is no image pictures/10.png")
    opened.get_by_label("Search").fill("pair-0003")
    expect(card.locator("img")).to_have_count(2)
    expect(card.locator(".vote")).to_contain_text("(20 votes)")
    unreadable = card.locator("details", has_text="gives no answer").first
    expect(unreadable.locator(".trace")).to_be_hidden()
    unreadable.locator("summary").click()
    expect(unreadable.locator(".trace")).to_contain_text("Zebra-3.")
    expect(unreadable).to_contain_text("p(A) –")


def test_keyboard(opened):
    opened.keyboard.press("Tab")
    expect(opened.get_by_role("link", name="Skip to the results")).to_be_focused()
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert opened.evaluate(outline) == "solid"
    filter_button(opened, "All").focus()
    opened.keyboard.press("Tab")
    expect(filter_button(opened, "Errors")).to_be_focused()
    opened.keyboard.press("Tab")
    opened.keyboard.press("Enter")
    expect(filter_button(opened, "Contradictions")).to_have_attribute("aria-pressed", "true")
    expect(filter_button(opened, "Contradictions")).to_be_focused()  # where one is, one stays
    summary = cards(opened).first.locator("summary").first
    summary.focus()
    opened.keyboard.press("Space")
    expect(cards(opened).first.locator(".trace").first).to_be_visible()


def test_csv_download(opened, report):
    with opened.expect_download() as started:
        opened.locator("#held_in-table_2 .download a").click()
    assert started.value.suggested_filename == "held_in-table_2.csv"
    saved = (report.parent / "data" / "held_in-table_2.csv").read_bytes()
    with open(started.value.path(), "rb") as downloaded:
        assert downloaded.read() == saved


def test_without_scripts(browser, report):
    for page in _open(browser, report, viewport=DESK, java_script_enabled=False):
        expect(page.get_by_text("Browsing the pairs needs JavaScript")).to_be_visible()
        expect(page.locator(".plot img").first).to_be_visible()
        expect(page.get_by_text("65.1%").first).to_be_visible()
