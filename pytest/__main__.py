"""`uv run pytest` in a checkout where only what `moa` needs is installed: add what the tests need, and run them.

uv runs a folder of this name, since its `__main__.py` makes it a program. It keeps the test runner out of the way of
somebody who only came to ask a question.
"""

import os
import sys

uv = os.environ.get("UV", "uv")
os.execvp(uv, [uv, "run", "--group", "test", "python", "-m", "pytest", *sys.argv[1:]])  # noqa: S606
