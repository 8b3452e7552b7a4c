"""A study: several ways of training, several seeds of each, all judged alike and set beside a paper's numbers."""
