"""A mixture built in code, streamed: two proposers with different roles, and an aggregator.

It uses the embedded model, so it runs anywhere; use the name of a better model instead.
"""

import asyncio
import sys

import moa
from moa import SpanEnd, SpanStart, TextDelta

MODEL = sys.argv[1] if len(sys.argv) > 1 else "local:smollm2"


async def main() -> None:
    model = moa.get_model(MODEL)
    optimist = moa.WithDefaults(model, system="You see what could go well.", temperature=0.7, max_tokens=80, seed=1)
    sceptic = moa.WithDefaults(model, system="You see what could go wrong.", temperature=0.7, max_tokens=80, seed=2)
    editor = moa.WithDefaults(model, temperature=0.2, max_tokens=160)
    panel = moa.Mixture((moa.Layer((optimist, sceptic)),), moa.Synthesize(editor), "panel")
    request = moa.Request((moa.Message("user", "Should I learn to play the violin at forty?"),))

    async with moa.stream(panel, request, words="answer") as events:
        async for event in events:
            match event:
                case SpanStart(role="proposer", index=int(place)):
                    print(f"[proposer {place + 1} begins]")
                case TextDelta(answer=True, text=text):
                    print(text, end="", flush=True)
                case SpanEnd(error=str(error)):
                    print(f"[failed: {error}]")
    usage = events.response.usage
    print(f"\n[{usage.input_tokens} tokens read, {usage.output_tokens} written, ${usage.cost:.2f}]")


asyncio.run(main())
