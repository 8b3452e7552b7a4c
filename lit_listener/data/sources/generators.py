"""Which columns of a pair name the models that made its images; a table may lack them."""

from lit_listener.data.sources.rows import Rows


def find_generators(rows: Rows, *names: tuple[str, str]) -> tuple[str | None, str | None]:
    """The columns that name the makers of the first and the second image, or None twice.

    Args:
        rows: The table.
        names: The two columns, as one layout or another calls them; the first two that are there are taken.
    """
    return next(((a, b) for a, b in names if a in rows.names and b in rows.names), (None, None))
