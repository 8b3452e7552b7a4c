"""What the jobs of these tests run in place of a training: it writes what a run would, and stops when it is asked to.

python worker.py write FOLDER [wait|fail]      begins, and ends at once, or waits to be stopped, or fails
python worker.py write --resume FOLDER         goes on, and ends
"""

import signal
import sys
import time
from pathlib import Path


def main(words: list[str]) -> None:
    """Write ``begun``, a line a start, and ``product``."""
    resumes = words[0] == "--resume"
    folder = Path(words[1] if resumes else words[0])
    how = "" if resumes else "".join(words[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "begun").open("a") as begun:
        begun.write("resumed\n" if resumes else "fresh\n")
    if how == "fail":
        print("no such data")
        sys.exit(1)
    if how == "wait":
        time.sleep(60)
    (folder / "product").write_text("whole")


if __name__ == "__main__":
    main(sys.argv[2:])
