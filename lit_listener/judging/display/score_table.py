"""A reward model's scores for the terminal (rich). No markup is read in prompts and names."""

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lit_listener.judging.display.wording import plain, plain_line
from lit_listener.judging.reward_model import ScoredImages


def show_scores(ranking: ScoredImages, names: Sequence[str], model: str) -> RenderableType:
    """Scored images as a table, best first.

    Args:
        ranking: the scores.
        names: what the images are called.
        model: what the reward model is called.
    """
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("rank", justify="right")
    table.add_column("image", overflow="fold")
    table.add_column("score", justify="right", no_wrap=True)
    for place in ranking.order:
        name = Text(plain_line(names[place]))
        table.add_row(Text(str(ranking.ranks[place])), name, Text(f"{ranking.scores[place]:.3f}"))
    return Group(
        Text.assemble(("Prompt: ", "dim"), plain(ranking.prompt)),
        Text.assemble(("Reward model: ", "dim"), plain_line(model)),
        table,
        Text("A score has no unit: sigmoid of a difference is the probability that the one is preferred to the other."),
    )
