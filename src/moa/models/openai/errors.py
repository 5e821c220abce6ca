"""Errors of HTTP calls, in one line that ends with what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp
import orjson

from ...errors import ContextOverflow, CutStream, ModelError
from ...wire.chat_completions import error_from_json


def failure(error: Exception, base_url: str, timeout: float) -> tuple[str, type[ModelError], bool]:
    """Return the message for a call without a reply, its error class, and whether a retry may help."""
    host = urlsplit(base_url).hostname
    match error:
        case aiohttp.ConnectionTimeoutError():
            return f"cannot reach {base_url} (no connection in time); is base_url right?", ModelError, True
        case TimeoutError():
            return f"no data received for {timeout:g} s; raise read_timeout of the provider", ModelError, True
        case aiohttp.ClientConnectorDNSError():
            return f"cannot find the host {host}; is base_url right, and is there a network?", ModelError, True
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
            advice = "to trust it, set SSL_CERT_FILE to its authority's certificate"
            return f"the certificate of {host} is not trusted ({reason}); {advice}", ModelError, False
        case aiohttp.ClientSSLError():
            reason = getattr(error.os_error, "reason", None) or error.os_error
            return f"no secure connection to {base_url} ({reason}); is it http rather than https?", ModelError, False
        case aiohttp.ClientConnectorError():
            reason = os.strerror(error.os_error.errno) if error.os_error.errno else error.os_error
            advice = "is the server running, and is base_url right?"
            return f"cannot reach {base_url} ({reason}); {advice}", ModelError, True
        case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError() | ConnectionError():
            return "the connection was cut before the reply was complete", CutStream, True
        case _:
            return " ".join(str(error).split()) or type(error).__name__, ModelError, False


def refusal(
    name: str, status: int, headers: Mapping[str, str], data: bytes, model: str, base_url: str, api_key_env: str | None
) -> tuple[ModelError, str]:
    """Return the error of a reply that is an HTTP error, and what to do about it."""
    error = error_from_json(_body(data), f"{name}: HTTP {status}", status)
    error.model, error.status = name, status
    error.retry_after = seconds(headers.get("Retry-After"))
    if isinstance(error, ContextOverflow):
        return error, "; shorten the prompt, or choose a model with a larger context window"
    if 300 <= status < 400:
        error = error.with_message(f"{name}: HTTP {status}: redirects are not followed")
        target = headers.get("Location", "").removesuffix("/chat/completions")
        return error, f"; put its address into base_url: {target}" if target else ""
    if status in (401, 403) and not api_key_env:
        return error, "; set api_key_env to the name of its key"
    if status == 401:
        return error, f"; check the key in {api_key_env}"
    if status == 403:
        return error, f"; may the key in {api_key_env} use this model?"
    if status == 404:
        return error, f"; is {model!r} a model of {base_url}, and is base_url right?"
    if status == 429:
        wait = f"; it asks to wait {error.retry_after:g} s" if error.retry_after else ""
        return error, f"{wait}; a lower max_concurrency of the provider may help"
    if status in (400, 422):
        return error, "; if it refuses an option, add that to unsupported of the provider"
    return error, "; the upstream failed, so retry later or choose another model" if status >= 500 else ""


def page(data: bytes) -> str:
    """Return a short description of an HTML page, or "" if the data are none."""
    text = data[:5000].decode(errors="replace").lstrip("\ufeff \t\r\n")
    if not re.match(r"<!doctype html|<html|<head|<body", text, re.IGNORECASE):
        return ""
    title = re.search(r"<title[^>]*>([^<]*)", text, re.IGNORECASE)
    named = " ".join(title[1].split()) if title else ""
    return f"an HTML page, {named!r}" if named else "an HTML page"


def _body(data: bytes) -> object:
    try:
        return orjson.loads(data)
    except ValueError:
        return page(data) or " ".join(data[:1000].decode(errors="replace").split()) or "no reason given"


def seconds(retry_after: str | None) -> float | None:
    """Return the seconds of a Retry-After, which is a number or a date (RFC 9110, section 10.2.3)."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
