"""Files on the Hugging Face hub: downloaded once, or found in the hub's own cache."""

import re
from pathlib import Path

from tinyreason.errors import UserError

HUB_PART = r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9_])?"
HUB_NAME = re.compile(rf"hub:({HUB_PART}/{HUB_PART})(?:@({HUB_PART}(?:/{HUB_PART})*))?", re.ASCII)


def hub_parts(name: str, key: str) -> tuple[str, str | None]:
    """(owner/name, revision) of `hub:owner/name[@revision]`, the value of the option `key`.

    Raises UserError.
    """
    found = HUB_NAME.fullmatch(name)
    if found is None or ".." in name or "--" in found[1]:
        raise UserError(f"{key}={name!r}: not of the form hub:owner/name[@revision]")
    return found[1], found[2]


def download(name: str, key: str, kind: str, files: list[str]) -> Path:
    """The local copy of the `files` (patterns) of a `kind` ("dataset", "model") on the hub; `name`
    as in `hub_parts`.

    Found in the hub's cache if it is there. Raises UserError, one line.
    """
    repository, revision = hub_parts(name, key)
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(f"{key}=hub:... needs the hub extra: pip install -e '.[hub]'") from None
    try:
        return Path(
            snapshot_download(repository, repo_type=kind, revision=revision, allow_patterns=files)
        )
    except (
        Exception
    ) as error:  # every transport fails in its own class; all of them are the user's to mend
        raise UserError(f"{key}={name}: cannot be downloaded: {reason_of(error)}") from None


def reason_of(error: Exception) -> str:
    """One line about what a library raised."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
