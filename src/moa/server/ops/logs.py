"""The log on standard error, for people or as JSON: a line for each request, and for what befalls the process.

It holds no words of a question or an answer: a fault is told by its kind and its place, as its message may quote some.
"""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal

from ..middleware.request_log import RequestLogEntry

Form = Literal["text", "json"]

Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def begin(form: Form) -> None:
    """Log to standard error from now on. The libraries beneath say only what is wrong."""
    handler = logging.StreamHandler()
    handler.setFormatter(JSON() if form == "json" else Text("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("moa.server").setLevel(logging.INFO)


class Text(logging.Formatter):
    """Lines for people."""

    def formatException(self, ei: Raised) -> str:  # noqa: N802
        return fault(ei[1])


class JSON(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
        }
        visit = getattr(record, "visit", None)
        told |= (
            _request(visit)
            if isinstance(visit, RequestLogEntry)
            else {"event": "message", "message": record.getMessage()}
        )
        if record.exc_info:
            told["fault"] = fault(record.exc_info[1])
        return json.dumps(told, ensure_ascii=False)


def fault(error: BaseException | None) -> str:
    """What kind of exception was raised, and where."""
    place = "".join(traceback.format_tb(error.__traceback__)) if error else ""
    return f"{place}{type(error).__name__}"


def _request(visit: RequestLogEntry) -> dict[str, Any]:
    known = {"run": visit.run, "model": visit.model, "key": visit.key}
    return {
        "event": "request",
        "method": visit.method,
        "route": visit.route,
        "status": visit.status or None,
        "seconds": round(visit.seconds, 3),
        **{name: value for name, value in known.items() if value is not None},
    }
