"""Takes the two pictures of the page in the README, with models that say what stands here.

    uv run --group browser python web/tools/screens.py

The page must be built, and pngquant be there. They show the page as it is; the models and their words are made up.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from helpers.browser import started, visiting  # noqa: E402
from helpers.upstream import Reply  # noqa: E402

QUESTION = "What causes the tides, and why do some coasts have much larger ones than others?"

BULGES = """\
Tides are caused mainly by the Moon. Its gravity pulls more strongly on the side of the Earth that faces it than on \
the far side, and this difference stretches the oceans into two bulges. As the Earth turns, each coast passes through \
both, so most places see two high tides a day."""
SUN = """\
The Sun's effect on the tides is about 46% of the Moon's. When Sun, Moon and Earth stand in line, at new and full \
moon, the two add up to **spring tides**; at the quarters they partly cancel, which gives **neap tides**."""
BASINS = """\
Ocean basins have natural periods of their own, and where those are close to twelve hours the tide grows large: the \
Bay of Fundy reaches 16 metres."""
FRICTION = "Friction with the sea floor slows the Earth: days grow longer by about 2 milliseconds a century."
SEAS = "Nearly closed seas such as the Mediterranean hardly move."
LATE = f"""\
There are **two high tides** in about 24 hours and 50 minutes, because the Moon moves on in its orbit while the Earth \
turns beneath it.

1. The Moon's gravity falls off with distance.
2. The difference across the Earth stretches the ocean.
3. {SEAS}"""
WIND = "A wind from the sea can add a metre to what the tables say, which is why harbours measure the water as well."
ANSWER = f"""\
{BULGES}

### The part of the Sun

{SUN}

### Why they differ from coast to coast

- {BASINS}
- {SEAS}
- {WIND}"""

SAYS = {
    "amber": f"{BULGES}\n\n{SUN}",
    "basalt": LATE,
    "cedar": f"The rise and fall of the sea is a resonance more than a bulge. {BASINS} {FRICTION}",
    "delta": "The Moon and, to a lesser degree, the Sun. The Sun's effect on the tides is about 25% of the Moon's.",
    "ember": "Two bodies raise the tides, the Moon and the Sun, and where they stand in line the two add up.",
    "flint": "The Moon pulls on the near side of the Earth more than on the far side.",
    "grove": "The tide is the sea breathing with the Moon.",
    "heath": "The Moon pulls on the near side of the Earth more than on the far side, so there are two bulges.",
    "judge": ANSWER,
}

TOML = """
default = "moa:panel"

[providers.lab]
base_url = "{url}"
attempts = 2
price = { input = 0.6, output = 2.4 }

[mixtures.panel]
description = "five models, a pair of small ones, and a judge"
proposers = ["lab:amber", "lab:basalt", "lab:cedar", "lab:delta", "lab:ember", "moa:pair"]
aggregator = "lab:judge"

[mixtures.pair]
description = "two small ones"
proposers = ["lab:flint", "lab:grove"]
aggregator = "lab:heath"
"""


def says(pace: float) -> dict[str, object]:
    """What the models say, each with its own pace: one is busy at first, one is cut off."""
    replies: dict[str, object] = {
        name: Reply(text, delay=0.2, pace=pace * (0.7 + 0.2 * place)) for place, (name, text) in enumerate(SAYS.items())
    }
    first = iter([Reply(status=503, text="overloaded, try again")])
    replies["cedar"] = lambda body: next(first, Reply(SAYS["cedar"], pace=pace))
    replies["ember"] = Reply(SAYS["ember"], pace=pace, cut_after=14)
    return replies


def saved(picture: bytes, name: str) -> None:
    """The picture in as few colours as nobody sees."""
    subprocess.run(["pngquant", "--force", "--output", str(ROOT / "docs" / name), "-"], input=picture, check=True)


def main() -> None:
    folder = os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp()
    os.chdir(folder)
    size = {"width": 1280, "height": 820}
    with started() as chromium:
        with visiting(
            chromium, says(0.03), TOML, viewport=size, color_scheme="dark", device_scale_factor=1.25
        ) as visit:
            visit.ask(QUESTION)
            visit.page.get_by_role("article", name="lab:ember").get_by_text("failed").wait_for()
            saved(visit.page.screenshot(), "page-asking.png")
        tall = {"width": 1280, "height": 900}
        with visiting(chromium, says(0.001), TOML, viewport=tall, device_scale_factor=1.25) as visit:
            visit.ask_and_wait(QUESTION)
            visit.page.locator("[data-own]").first.wait_for()
            visit.page.evaluate("scrollTo(0, 110)")
            visit.page.locator("[data-sentence]", has_text="Its gravity").hover()
            visit.page.wait_for_timeout(300)
            saved(visit.page.screenshot(), "page-answer.png")


if __name__ == "__main__":
    main()
