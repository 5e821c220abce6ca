"""The log on standard error, as text or JSON: a line per request and per event of the process.

It has no text of a question or an answer: an exception is logged without its message, which may quote some.
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


def configure_logging(form: Form) -> None:
    """Log to standard error. Libraries log warnings only."""
    handler = logging.StreamHandler()
    handler.setFormatter(JSON() if form == "json" else Text("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("moa.server").setLevel(logging.INFO)


class Text(logging.Formatter):
    """Formats lines of text."""

    def formatException(self, ei: Raised) -> str:  # noqa: N802
        return describe_error(ei[1])


class JSON(logging.Formatter):
    """Formats one JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
        }
        entry = getattr(record, "entry", None)
        fields |= (
            _request(entry)
            if isinstance(entry, RequestLogEntry)
            else {"event": "message", "message": record.getMessage()}
        )
        if record.exc_info:
            fields["fault"] = describe_error(record.exc_info[1])
        return json.dumps(fields, ensure_ascii=False)


def describe_error(error: BaseException | None) -> str:
    """Return the traceback and the type of an exception, without its message."""
    where = "".join(traceback.format_tb(error.__traceback__)) if error else ""
    return f"{where}{type(error).__name__}"


def _request(entry: RequestLogEntry) -> dict[str, Any]:
    known = {"run": entry.run, "model": entry.model, "key": entry.key}
    return {
        "event": "request",
        "method": entry.method,
        "route": entry.route,
        "status": entry.status or None,
        "seconds": round(entry.seconds, 3),
        **{name: value for name, value in known.items() if value is not None},
    }
