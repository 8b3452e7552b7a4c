"""What a judge said, for people to look at: in the terminal and as a page."""
