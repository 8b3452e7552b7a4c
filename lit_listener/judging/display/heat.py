"""Which sentence moves a listener, for people to look at: in the terminal, and as a piece of HTML.

A sentence's gain stands beside it as a number, and is its colour's strength: warm where it speaks for the image, cold
where it speaks against it. Nothing is told by colour alone. Whatever a model wrote is escaped.
"""

from html import escape

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lit_listener.judging.display.wording import plain, plain_line
from lit_listener.judging.heat import Heat, SentenceHeat

_FOR, _AGAINST = (213, 94, 0), (0, 114, 178)
"""Vermilion and blue: told apart by the colour-blind too."""
_STRONGEST = 0.6
"""Opacity of a gain of 1: text on it can still be read, in a light page and in a dark one."""
_FAINTEST = 0.005
"""Gains below it, in probability, have no colour: they are shown as +0.00."""


def show_heat(heat: Heat, of: str) -> RenderableType:
    """Heat for the terminal (rich), a sentence a line.

    Args:
        heat: what the sentences do.
        of: what the probability is of: "image A".
    """
    left_out = any(sentence.missed is not None for sentence in heat.sentences)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("p", "gain", *(["missed"] if left_out else [])):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("heard", overflow="fold")
    nothing = Text("nothing yet" if heat.sentences else "no thoughts", "dim")
    table.add_row(Text(f"{heat.p_start:.3f}"), Text(""), *([Text("")] if left_out else []), nothing)
    for sentence in heat.sentences:
        style = _style(sentence.gain)
        missed = [Text("" if sentence.missed is None else _signed(sentence.missed))] if left_out else []
        table.add_row(
            Text(f"{sentence.p_after:.3f}"),
            Text(_signed(sentence.gain), style),
            *missed,
            Text(plain(sentence.text), style),
        )
    return Group(Text(plain_line(_about(of))), table, Text(_meaning(left_out=left_out), "dim"))


def heat_html(heat: Heat, of: str) -> str:
    """Heat as a piece of HTML that needs no style sheet, script or network: the thoughts, each sentence coloured.

    Args:
        heat: what the sentences do.
        of: what the probability is of: "image A".
    """
    left_out = any(sentence.missed is not None for sentence in heat.sentences)
    body, at = [f"<small>p = {heat.p_start:.3f}</small> "], 0
    for sentence in heat.sentences:
        body.append(escape(plain(heat.thinking[at : sentence.start])))
        body.append(_marked(sentence))
        at = sentence.end
    body.append(escape(plain(heat.thinking[at:])))
    return (
        '<figure style="margin:0 0 1em;max-width:60em">'
        f"<figcaption>{escape(plain_line(_about(of)))}</figcaption>"
        f'<p style="white-space:pre-wrap;line-height:2">{"".join(body)} <small>p = {heat.p_end:.3f}</small></p>'
        f"<p><small>{escape(_meaning(left_out=left_out))}</small></p></figure>"
    )


def _marked(sentence: SentenceHeat) -> str:
    """A sentence on its colour, and its numbers behind it."""
    missed = "" if sentence.missed is None else f", missed {_signed(sentence.missed, 2)}"
    red, green, blue = _FOR if sentence.gain > 0 else _AGAINST
    opacity = _STRONGEST * min(1.0, abs(sentence.gain)) if abs(sentence.gain) >= _FAINTEST else 0.0
    return (
        f'<span style="background:rgba({red},{green},{blue},{opacity:.3f});padding:.15em .2em;border-radius:.2em">'
        f"{escape(plain(sentence.text))}&nbsp;<b>{_signed(sentence.gain, 2)}{missed}</b></span>"
    )


def _style(gain: float) -> str:
    """A terminal's colour, which has no strengths: bold where it is half of all there is."""
    if abs(gain) < _FAINTEST:
        return ""
    return ("bold " if abs(gain) >= 0.5 else "") + ("dark_orange3" if gain > 0 else "deep_sky_blue4")


def _signed(difference: float, digits: int = 3) -> str:
    """A difference with its sign; what rounds to nothing is +0, not -0."""
    return f"{round(difference, digits) + 0.0:+.{digits}f}"


def _about(of: str) -> str:
    return f"The listener's probability of {of}, sentence by sentence"


def _meaning(*, left_out: bool) -> str:
    """What the numbers are."""
    missed = "; missed: what the whole trace loses where this sentence alone is left out" if left_out else ""
    return f"p: after the sentences so far; gain: what a sentence adds to it{missed}."
