"""A group of completions with every term of its rewards, as a table for the terminal or a notebook (rich)."""

from rich import box
from rich.table import Table
from rich.text import Text

from lit_listener.judging.display.wording import plain, plain_line
from lit_listener.tasks import Task
from lit_listener.training.inspection import InspectedCompletion, InspectedGroup


def group_table(group: InspectedGroup, task: Task) -> Table:
    """A line a completion: what it answers, each term's worth, their sum, and the advantage.

    Args:
        group: the completions.
        task: puts answers into words.
    """
    right = "" if group.label is None else f", right: {task.in_words(group.label)}"
    table = Table(
        title=Text(plain_line(f"{group.shown.prompt!r}{right}")),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in ("", "outcome", "contradicts"):
        table.add_column(column, no_wrap=True)
    for column in ("p(right)", "listener's", *_terms(group), "reward", "advantage"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("completion", overflow="fold", min_width=30)
    for completion in group.completions:
        table.add_row(*(Text(cell) for cell in _cells(completion)))
    table.caption = (
        "Terms by what they add to the reward. p(right): the reasoner's own; listener's: after its thoughts."
    )
    table.caption_justify = "left"
    return table


def _terms(group: InspectedGroup) -> list[str]:
    """The terms with their weights, which all completions share."""
    return [f"{term.name} x {term.weight:g}" for term in group.completions[0].terms]


def _cells(completion: InspectedCompletion) -> list[str]:
    said = completion.said
    outcome, contradicts = str(said.outcome).replace("_", " "), "yes" if completion.contradicts else ""
    beliefs = ["-" if p is None else f"{p:.3f}" for p in (completion.own_p_correct, completion.p_correct)]
    worths = [f"{term.worth:.3f}" for term in completion.terms]
    text = plain(said.text)
    return [
        str(completion.rollout),
        outcome,
        contradicts,
        *beliefs,
        *worths,
        f"{completion.total:.3f}",
        f"{completion.advantage:+.2f}",
        text,
    ]
