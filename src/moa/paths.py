"""Where things live on this machine: what can be fetched again, what the user wrote, and what happened."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .errors import ConfigError


def cache_folder() -> Path:
    """Where fetched models are kept: `$MOA_CACHE`, else the user's cache folder. It need not exist yet."""
    if chosen := os.environ.get("MOA_CACHE"):
        return expanded(chosen)
    if sys.platform == "win32":
        return _windows("LOCALAPPDATA", "Local") / "moa" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "moa"
    return _xdg("XDG_CACHE_HOME", ".cache") / "moa"


def config_folder() -> Path:
    """Where the user's own `moa.toml` lies. It need not exist.

    A Mac has it in `~/.config` too: it is a file to be edited, and Library is hidden from whoever would edit it.
    """
    if sys.platform == "win32":
        return _windows("APPDATA", "Roaming") / "moa"
    return _xdg("XDG_CONFIG_HOME", ".config") / "moa"


def state_folder() -> Path:
    """Where the runs are kept. It need not exist yet."""
    if sys.platform == "win32":
        return _windows("LOCALAPPDATA", "Local") / "moa" / "State"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "moa"
    return _xdg("XDG_STATE_HOME", ".local/state") / "moa"


def expanded(path: str) -> Path:
    """The path, with ~ in its place. Raises `ConfigError` for the home of somebody whom this machine does not know."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(f"{path}: there is no such home folder; write the path out") from None


def _xdg(variable: str, usual: str) -> Path:
    chosen = Path(os.environ.get(variable, ""))
    # the XDG specification has relative paths ignored
    return chosen if chosen.is_absolute() else Path.home() / usual


def _windows(variable: str, usual: str) -> Path:
    chosen = os.environ.get(variable)
    return Path(chosen) if chosen else Path.home() / "AppData" / usual
