"""What the simulated worlds share: their streams of pairs, their crowd, their draws, their pens and their habits."""
