"""The judge's page as people meet it: in a browser, before a real server with the bundled judge."""

import base64
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from lit_listener.data.shapes import ShapesPairs
from lit_listener.judging.judge import Judge
from lit_listener.judging.server.app import create_app
from tests.browsing import CONTRASTS, chromium
from tests.judging.forms.test_lists import loaded
from tests.judging.server.served import serving

pytestmark = pytest.mark.slow

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
HOSTILE = "<img src=x onerror=alert(1)><script>alert('x')</script> & \"four\" squares"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def url(judge):
    with serving(create_app(judge)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def pairs():
    return ShapesPairs(["flat", "paper"], 4, "test")


@pytest.fixture(scope="module")
def paths(pairs, tmp_path_factory):
    """Three candidates for the prompt of pair 0."""
    folder = tmp_path_factory.mktemp("candidates")
    images = {"first.png": pairs[1].image_a, "second.png": pairs[0].image_a, "third.png": pairs[0].image_b}
    for name, image in images.items():
        image.save(folder / name)
    return [folder / name for name in images]


@pytest.fixture
def page(browser, url):
    yield from opened(browser, url)


def opened(browser: Browser, url: str, refusals: int = 0, **options) -> Iterator[Page]:
    """The page; fails where it says anything on the console but refusals, or asks for anything outside its server."""
    page = browser.new_page(**{"viewport": DESK, **options})
    page.set_default_timeout(60_000)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    expect(page.locator("#served")).to_contain_text("Judge: shapes")
    yield page
    page.close()
    told = [text for text in said if text.startswith("Failed to load resource: the server responded with")]
    assert [text for text in said if text not in told] == []
    assert len(told) == refusals
    assert [each for each in asked if not each.startswith((f"{url}/", "blob:", "data:"))] == []


def rank(page, prompt, paths):
    page.get_by_label("Choose images").set_input_files(paths)
    page.get_by_label("Prompt of the images").fill(prompt)
    page.get_by_role("button", name="Rank").click()


def expect_ranked(page, ranking, paths):
    """The page shows this ranking: names, ranks and numbers, best first."""
    expect(page.get_by_role("status")).to_have_text(
        re.compile(rf"Ranked {len(paths)} images? in [\d.]+ s. Best: {re.escape(paths[ranking.order[0]].name)}\.")
    )
    cards = page.locator("#ranked > li")
    expect(cards.locator("h3")).to_have_text([paths[place].name for place in ranking.order])
    expect(cards.locator(".rank")).to_have_text([str(n + 1) for n in range(len(paths))])
    expect(cards.locator(".heading .faint")).to_have_text([f"image {place + 1}" for place in ranking.order])
    expect(cards.locator(".judge .number")).to_have_text([f"{ranking.scores[place]:.3f}" for place in ranking.order])


def card(page, path):
    return page.locator("#ranked > li").filter(has=page.get_by_role("heading", name=path.name))


def test_files_are_ranked_and_every_number_has_its_thoughts(page, judge, pairs, paths):
    page.get_by_text("Options").click()
    page.get_by_label("Ask the listener too").check()
    page.get_by_label("Rollouts").fill("2")
    page.get_by_label("Seed").fill("7")
    rank(page, pairs[0].prompt, paths)
    ranking = judge.rank(pairs[0].prompt, paths, rollouts=2, seed=7, listen=True)
    expect_ranked(page, ranking, paths)
    anchor = paths[ranking.anchor]
    expect(card(page, anchor).locator(".badge")).to_have_text("anchor")
    expect(page.locator("#against")).to_contain_text(f"the anchor, {anchor.name} (image {ranking.anchor + 1})")
    for place, comparison in enumerate(ranking.comparisons):
        if comparison is None:
            assert card(page, paths[place]).locator(".thought").count() == 0
            continue
        shown = card(page, paths[place])
        expect(shown.locator(".listener .number")).to_have_text(f"{comparison.listener_p_a:.3f}")
        thoughts = shown.locator(".thought")
        expect(thoughts.first).to_be_hidden()
        shown.get_by_text("4 thoughts").click()
        expect(thoughts).to_have_count(4)
        for thought, trace in zip(thoughts.all(), comparison.traces, strict=True):
            first = "This image" if trace.first == "a" else "The anchor"
            expect(thought.locator("h4")).to_have_text(f"{first} shown first, thought {trace.rollout + 1}")
            expect(thought.locator("blockquote")).to_be_visible()
            said = trace.thinking if trace.outcome == "ok" else trace.text
            assert thought.locator("blockquote").text_content() == said
            expect(thought.locator(".probability")).to_have_text(f"p(this image) {trace.p_a:.3f}")
            expect(thought.locator(".heard")).to_have_text(f"listener {trace.listener_p_a:.3f}")
            assert thought.get_by_text("forced", exact=True).count() == trace.forced
            assert thought.get_by_text("contradicts itself").count() == trace.contradicts
            answer = {None: "no answer can be read", "a": "(this one)", "b": "(the anchor)"}[trace.answer]
            expect(thought.locator(".facts")).to_contain_text(answer)
    broken = "[...document.images].filter((image) => image.complete && !image.naturalWidth).length"
    assert page.evaluate(broken) == 0


def test_dropped_and_pasted_files_are_ranked(page, judge, pairs, paths):
    transfer = page.evaluate_handle(
        """(files) => {
          const transfer = new DataTransfer();
          for (const [name, text] of files) {
            const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
            transfer.items.add(new File([bytes], name, { type: "image/png" }));
          }
          return transfer;
        }""",
        [(path.name, base64.b64encode(path.read_bytes()).decode()) for path in paths],
    )
    zone = page.locator("#drop")
    zone.dispatch_event("dragenter", {"dataTransfer": transfer})
    expect(zone).to_have_class(re.compile("over"))
    zone.dispatch_event("drop", {"dataTransfer": transfer})
    expect(zone).not_to_have_class(re.compile("over"))
    expect(page.get_by_role("status")).to_have_text("3 images added, 3 in all.")
    page.evaluate(
        "(transfer) => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: transfer }))", transfer
    )
    expect(page.locator("#chosen li")).to_have_count(6)
    for _ in range(3):
        page.locator("#chosen li").last.get_by_role("button", name="Remove").click()
    page.get_by_label("Prompt of the images").fill(pairs[0].prompt)
    page.get_by_role("button", name="Rank").click()
    expect_ranked(page, judge.rank(pairs[0].prompt, paths), paths)


def test_all_can_be_done_by_keyboard(page, judge, pairs, paths):
    keys = page.keyboard
    page.on("filechooser", lambda _: None)  # Playwright takes choosers over from here on: it needs a moment for that
    keys.press("Tab")
    expect(page.get_by_label("Prompt of the images")).to_be_focused()
    keys.type(pairs[0].prompt)
    keys.press("Tab")
    expect(page.get_by_label("Choose images")).to_be_focused()
    with page.expect_file_chooser() as chooser:
        keys.press("Enter")
    chooser.value.set_files([*paths, paths[0]])
    page.get_by_label("Prompt of the images").focus()
    keys.press("Tab")  # move the first image earlier, which it cannot
    keys.press("Enter")
    keys.press("Tab")
    expect(page.get_by_role("button", name="Move later: first.png").first).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_role("status")).to_have_text("first.png is image 2 of 4.")
    expect(page.get_by_role("button", name="Move later: first.png").first).to_be_focused()
    for _ in range(7):
        keys.press("Tab")
    expect(page.get_by_role("button", name="Remove: first.png").last).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_role("status")).to_have_text("first.png removed, 3 left.")
    expect(page.get_by_role("button", name="Remove: third.png")).to_be_focused()
    names = ["second.png", "first.png", "third.png"]
    expect(page.locator("#chosen .name")).to_have_text(names)
    expect(page.locator("#chosen .place")).to_have_text(["1", "2", "3"])
    page.get_by_label("Prompt of the images").focus()
    keys.press("Enter")
    swapped = [paths[1], paths[0], paths[2]]
    expect_ranked(page, judge.rank(pairs[0].prompt, swapped), swapped)


def test_the_anchor_may_be_one_of_them_or_another(page, judge, pairs, paths):
    page.get_by_text("Options").click()
    page.get_by_label("Choose images").set_input_files(paths)
    page.get_by_label("Compare all with").select_option(label="image 2: second.png")
    page.get_by_role("button", name="Remove: first.png").click()  # then image 2 is another one
    page.get_by_label("Compare all with").select_option(label="image 1: second.png")
    page.get_by_label("Show the images in both orders").uncheck()
    prompt = f"{pairs[0].prompt}\non paper"
    page.get_by_label("Prompt of the images").fill(prompt)
    page.get_by_role("button", name="Rank").click()
    expect_ranked(page, judge.rank(prompt, paths[1:], anchor=0, both_orders=False), paths[1:])
    assert page.locator("#asked").inner_text() == prompt

    page.get_by_role("button", name="Remove: third.png").click()
    page.get_by_label("Compare all with").select_option("another image…")
    page.get_by_role("button", name="Rank").click()
    expect(page.get_by_role("alert")).to_have_text("Choose the anchor image, or let the seed draw one.")
    page.get_by_label("Anchor image").set_input_files(paths[0])
    page.get_by_role("button", name="Rank").click()
    ranking = judge.rank(prompt, paths[1:2], anchor=paths[0], both_orders=False)
    expect_ranked(page, ranking, paths[1:2])
    expect(page.locator("#against")).to_contain_text("the anchor, first.png, whose score is 0.5")


@pytest.fixture
def refused(browser, url):
    yield from opened(browser, url, refusals=1)


def test_one_image_alone_is_refused_in_the_servers_words(refused, pairs, paths):
    rank(refused, pairs[0].prompt, paths[:1])
    expect(refused.get_by_role("alert")).to_contain_text("one image alone has nothing to be compared with")
    expect(refused.get_by_role("button", name="Rank", exact=True)).to_be_enabled()
    expect(refused.locator("#ask")).to_have_attribute("aria-busy", "false")


def test_a_broken_file_is_named(refused, pairs, paths, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_text("no picture at all")
    rank(refused, pairs[0].prompt, [paths[1], broken])
    expect(refused.get_by_role("alert")).to_contain_text("images[1]")
    expect(refused.locator("#chosen").get_by_text("no preview")).to_be_visible()


def test_what_is_missing_is_asked_for_at_its_place(page, paths):
    page.get_by_role("button", name="Rank").click()
    expect(page.get_by_role("alert")).to_have_text("Type the prompt of the images.")
    expect(page.get_by_role("alert")).to_be_in_viewport()
    expect(page.get_by_label("Prompt of the images")).to_be_focused()
    page.keyboard.type("four red squares")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Add the images to be ranked")
    page.get_by_label("Choose images").set_input_files(paths)
    page.get_by_text("Options").click()
    page.get_by_label("Rollouts").fill("")
    page.get_by_text("Options").click()
    page.get_by_role("button", name="Rank").click()
    expect(page.get_by_role("alert")).to_contain_text("Rollouts: ")
    expect(page.get_by_role("alert")).to_be_in_viewport()  # below a list of images and open options
    expect(page.get_by_label("Rollouts")).to_be_focused()


def test_the_token_is_asked_for_when_it_is_needed(browser, judge, pairs, paths):
    with serving(create_app(judge, token="sesame")) as port:
        for page in opened(browser, f"http://127.0.0.1:{port}", refusals=2):
            expect(page.get_by_label("Token of this server")).to_be_hidden()
            rank(page, pairs[0].prompt, paths)
            expect(page.get_by_role("alert")).to_contain_text("Authorization: Bearer")
            expect(page.get_by_label("Token of this server")).to_be_focused()
            page.keyboard.type("wrong")
            page.keyboard.press("Enter")
            expect(page.get_by_role("alert")).to_contain_text("got another one")
            page.get_by_label("Token of this server").fill("sesame")
            page.keyboard.press("Enter")
            expect_ranked(page, judge.rank(pairs[0].prompt, paths), paths)
            expect(page.locator("#error")).to_be_hidden()


def test_a_server_that_is_gone_is_told(browser, judge, pairs, paths):
    with serving(create_app(judge)) as port:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}")
        expect(page.locator("#served")).to_contain_text("Judge: shapes")
    rank(page, pairs[0].prompt, paths)
    expect(page.get_by_role("alert")).to_contain_text("the server cannot be reached")
    page.close()


def test_ranking_can_be_stopped(page, pairs, paths):
    page.get_by_text("Options").click()
    page.get_by_label("Rollouts").fill("16")
    page.get_by_label("Choose images").set_input_files(paths * 5)
    page.get_by_label("Prompt of the images").fill(pairs[0].prompt)
    page.get_by_role("button", name="Rank").click()
    expect(page.get_by_role("status")).to_have_text("Ranking 15 images…")
    expect(page.locator("#ask")).to_have_attribute("aria-busy", "true")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("status")).to_have_text("Stopped.")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.locator("#error")).to_be_hidden()


def test_texts_from_outside_are_shown_and_not_run(page, paths, tmp_path):
    hostile = tmp_path / "<img src=x onerror=alert(2)>.png"
    hostile.write_bytes(paths[0].read_bytes())
    page.get_by_text("Options").click()
    rank(page, HOSTILE, [hostile, paths[1]])
    page.locator("#ranked summary").click()
    expect(page.locator("#asked")).to_have_text(HOSTILE)
    expect(card(page, hostile).locator("h3")).to_have_text(hostile.name)
    expect(page.locator("#chosen .name").first).to_have_text(hostile.name)
    expect(page.get_by_label("Compare all with")).to_contain_text(hostile.name)
    assert page.locator("body script, [onerror], img[src=x]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_looks(browser, url, pairs, paths, tmp_path, viewport, scheme):
    long = tmp_path / f"{'a-name-without-any-blank' * 6}.png"
    long.write_bytes(paths[0].read_bytes())
    for page in opened(browser, url, viewport=viewport, color_scheme=scheme):
        page.get_by_text("Options").click()
        page.get_by_label("Ask the listener too").check()
        page.get_by_label("Compare all with").select_option("another image…")
        page.get_by_label("Anchor image").set_input_files(long)
        rank(page, pairs[0].prompt + "squares" * 60, [*paths, long])
        for summary in page.locator("#ranked summary").all():
            summary.click()
        expect(page.locator("#ranked > li")).to_have_count(4)
        assert page.evaluate("document.scrollingElement.scrollWidth") <= viewport["width"]
        everything = "[...document.body.querySelectorAll('*')].filter((e) => e.checkVisibility() && e.id !== 'files')"
        assert page.evaluate(f"Math.max(...{everything}.map((e) => e.getBoundingClientRect().right))") <= (
            viewport["width"] - 8
        )
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 60
        assert min(contrasts)[0] >= 4.5, min(contrasts)


@pytest.fixture(scope="module")
def rater() -> Judge:
    return Judge.load("shapes-rater")


def test_a_judge_that_rates_images_shows_ratings(browser, rater, pairs, paths):
    with serving(create_app(rater)) as port:
        for page in opened(browser, f"http://127.0.0.1:{port}"):
            page.get_by_text("Options").click()
            expect(page.get_by_label("Compare all with")).to_be_hidden()
            expect(page.get_by_label("Show the images in both orders")).to_be_hidden()
            page.get_by_label("Rollouts").fill("2")
            rank(page, pairs[0].prompt, paths)
            ranking = rater.rank(pairs[0].prompt, paths, rollouts=2)
            expect_ranked(page, ranking, paths)
            expect(page.locator("#against")).to_contain_text(
                "expected rating of an image by itself: 0 is a rating of 1"
            )
            assert page.get_by_text("anchor", exact=True).count() == 0
            shown = card(page, paths[0])
            shown.get_by_text("2 thoughts").click()
            for thought, trace in zip(shown.locator(".thought").all(), ranking.ratings[0].traces, strict=True):
                said = trace.thinking if trace.outcome == "ok" else trace.text
                assert thought.locator("blockquote").text_content() == said
                expect(thought.locator(".probability")).to_have_text(f"score {trace.score:.3f}")
                told = "no answer can be read" if trace.answer is None else f"rated {trace.answer}"
                expect(thought.locator(".facts")).to_contain_text(told)


def test_a_judge_that_looks_at_all_at_once_shows_its_thoughts_once(browser, pairs, paths):
    lister = loaded(listener="shapes-instruct")
    with serving(create_app(lister)) as port:
        for page in opened(browser, f"http://127.0.0.1:{port}"):
            expect(page.locator("#at-once")).to_be_hidden()
            page.get_by_text("Options").click()
            page.get_by_label("Ask the listener too").check()
            rank(page, pairs[0].prompt, paths)
            ranking = lister.rank(pairs[0].prompt, paths, listen=True)
            expect_ranked(page, ranking, paths)
            expect(page.locator("#against")).to_have_text(
                "A score is the probability of being the best of these 3 images, judged at once."
            )
            heard = [f"{ranking.listener_scores[place]:.3f}" for place in ranking.order]
            expect(page.locator("#ranked .listener .number")).to_have_text(heard)
            assert page.locator("#ranked .thought").count() == 0
            page.get_by_text("2 thoughts").click()
            thoughts = page.locator("#at-once .thought")
            for thought, trace in zip(thoughts.all(), ranking.list_traces, strict=True):
                said = trace.thinking if trace.outcome == "ok" else trace.text
                assert thought.locator("blockquote").text_content() == said
                expect(thought.locator("figcaption")).to_have_text(
                    [f"{paths[place].name}: {trace.scores[place]:.3f}" for place in trace.order]
                )
                answer = "no answer can be read" if trace.answer is None else f"answers: {paths[trace.answer].name}"
                expect(thought.locator(".facts")).to_contain_text(answer)
                expect(thought.locator(".heard")).to_contain_text(f"{trace.listener_scores[trace.order[0]]:.3f}, ")
            page.get_by_label("Compare all with").select_option("1")
            page.get_by_role("button", name="Rank").click()
            expect(page.locator("#against")).to_contain_text("the anchor, second.png (image 2)")
            expect(page.locator("#at-once")).to_be_hidden()
