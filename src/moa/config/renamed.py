"""Names that were changed before the first release. Each old name is refused with a pointer to the new one.

A value is the new name, followed by `; ` and a hint where the form of the value changed too.
"""

from __future__ import annotations

from collections.abc import Mapping

SETTINGS: Mapping[str, Mapping[str, str]] = {
    "providers.NAME": {
        "breaker": "circuit_breaker",
        "images": "vision",
        "one_gpu": "max_loaded_models; write max_loaded_models = 1 for one_gpu = true",
        "prefix_cache": 'prewarm; "warm" is now "free", and "none" is now "off"',
        "timeout": "read_timeout",
    },
    "providers.NAME.circuit_breaker": {"rest": "cooldown"},
    "providers.NAME.models.ID": {"images": "vision"},
    "mixtures.NAME": {
        "agree": "early_exit",
        "deadline": "timeout",
        "names": "show_model_names",
        "order": "reference_order",
        "place": 'references_in; "end" is now "user"',
    },
    "mixtures.NAME.timeout": {"cap": "max", "factor": "multiplier", "floor": "min"},
    "server": {
        "at_once": "max_concurrency",
        "drain": "shutdown_timeout",
        "hosts": "allowed_hosts",
        "keep_alive": "sse_ping_interval",
        "log": "log_format",
        "max_body": "max_body_bytes",
        "open": "allow_unauthenticated",
        "origins": "allowed_origins",
        "proposals": "show_proposals",
        "queue": "max_queue",
        "utility": "utility_prompts",
    },
    "store": {
        "calls": "cache",
        "days": "max_age_days",
        "megabytes": "max_size_mb",
        "off": "enabled; write enabled = false for off = true",
        "text": "store_content",
    },
    "telemetry": {"off": "enabled; write enabled = false for off = true"},
    "moa": {"deadline": "timeout", "proposals": "show_proposals"},
}
"""Renamed settings, by the table of `moa.toml` they are in. `moa` is the object in a request to the server."""


OPTIONS: Mapping[str, str] = {
    "--at-once": "--max-concurrency",
    "--budget": "--max-cost-per-question",
    "--days": "--max-age-days",
    "--latency": "--max-latency",
    "--log": "--log-format",
    "--megabytes": "--max-size-mb",
    "--open": "--allow-unauthenticated",
    "--out": "--output-dir",
    "--quote": "--estimate",
    "--spend": "--max-cost",
}
"""Renamed options of the command line, with their new name wherever a command has it."""

COMMANDS: Mapping[str, str] = {"moa runs figures": "moa runs stats"}


def renamed_to(new: str) -> str:
    """Return the second half of an error about a renamed setting."""
    name, _, hint = new.partition("; ")
    return f"renamed to {name!r}{hint and f'; {hint}'}"
