"""The exception with which a run breaks off where it was asked to, having lost nothing."""


class StopRequested(KeyboardInterrupt):
    """Training stops here because somebody asked for it (Ctrl-C or SIGTERM); it can be gone on with exactly."""
