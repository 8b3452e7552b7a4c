"""Judging: a trained reasoner compares, ranks and scores images, from Python, the command line or an HTTP server."""
