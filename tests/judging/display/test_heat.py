"""How heat is shown: every number is there in words, and nothing of a trace is obeyed."""

import io
import re

from rich.console import Console

from lit_listener.judging.display.heat import heat_html, show_heat
from lit_listener.judging.heat import Heat, SentenceHeat
from tests.judging.display.conftest import HOSTILE

HEAT = Heat(
    "Red.  Big. Round. Bad.",
    0.5,
    0.1246,
    (
        SentenceHeat("Red.", 0, 4, 0.5, 0.75, -0.0004),
        SentenceHeat("Big.", 6, 10, 0.75, 0.7504, 0.0),
        SentenceHeat("Round.", 11, 17, 0.7504, 0.6246, 0.2),
        SentenceHeat("Bad.", 18, 22, 0.6246, 0.1246, -0.5),
    ),
)
QUIET = Heat("Red.", 0.5, 0.75, (SentenceHeat("Red.", 0, 4, 0.5, 0.75),))


def printed(renderable, **options):
    console = Console(file=io.StringIO(), width=100, **options)
    console.print(renderable, highlight=False)
    return console.file.getvalue()


def test_the_terminal_has_a_line_a_sentence():
    rows = [line.split() for line in printed(show_heat(HEAT, "image A")).splitlines()]
    assert rows[1] == ["p", "gain", "missed", "heard"]
    assert rows[3:8] == [
        ["0.500", "nothing", "yet"],
        ["0.750", "+0.250", "+0.000", "Red."],  # not -0.000
        ["0.750", "+0.000", "+0.000", "Big."],
        ["0.625", "-0.126", "+0.200", "Round."],
        ["0.125", "-0.500", "-0.500", "Bad."],
    ]
    quiet = printed(show_heat(QUIET, "image A"))
    assert "missed" not in quiet
    assert "The listener's probability of image A, sentence by sentence" in quiet
    assert "no thoughts" in printed(show_heat(Heat("", 0.5, 0.5, ()), "image A"))


def test_the_terminals_colours_tell_direction_and_strength():
    text = printed(show_heat(HEAT, "image A"), force_terminal=True, color_system="256")
    codes = {name: re.findall(r"\x1b\[([0-9;]*)m" + name, text) for name in ("Red", "Big", "Round", "Bad")}
    assert codes["Big"] == []
    assert codes["Red"] != codes["Round"] != []
    assert codes["Bad"] == [f"1;{codes['Round'][0]}"]  # bold


def test_html_colours_each_sentence_and_keeps_the_text_between():
    html = heat_html(HEAT, "image A")
    found = re.findall(r"background:rgba\((\d+),\d+,\d+,([\d.]+)\)[^>]*>([^&]*)&nbsp;<b>([^<]*)</b>", html)
    assert found == [
        ("213", "0.150", "Red.", "+0.25, missed +0.00"),  # 0.6 x 0.25
        ("213", "0.000", "Big.", "+0.00, missed +0.00"),
        ("0", "0.075", "Round.", "-0.13, missed +0.20"),  # 0.6 x 0.1258
        ("0", "0.300", "Bad.", "-0.50, missed -0.50"),
    ]
    assert "</span>  <span" in html  # both spaces between the first two
    assert "p = 0.500" in html
    assert "p = 0.125" in html
    assert "missed" not in heat_html(QUIET, "image A")


def test_nothing_of_a_trace_or_a_name_is_obeyed():
    heat = Heat(f"{HOSTILE}{HOSTILE}", 0.5, 0.75, (SentenceHeat(HOSTILE, 0, len(HOSTILE), 0.5, 0.75),))
    html = heat_html(heat, HOSTILE)
    assert html.count("&lt;script&gt;") == 3  # the name, the sentence, and what follows it
    for bad in ("<script", "<img", "\x1b", "\u202e"):
        assert bad not in html
    text = printed(show_heat(heat, HOSTILE))
    assert "\x1b[2J" not in text
    assert "[bold red]b[/]" in text
