"""What lines of a plot are drawn with, so that each is told from the others, in print and by the colour-blind."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's, which colour-blind readers tell apart."""
DASHES = ("-", "--", "-.", ":")
