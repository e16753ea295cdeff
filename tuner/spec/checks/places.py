"""What names a file or a folder must lie on this machine."""

from __future__ import annotations

from tuner.paths import is_url
from tuner.spec.text.findings import Findings
from tuner.spec.text.problems import KeyPath


def check_local(path: KeyPath, value: str | None, findings: Findings) -> None:
    """Check that what names a file or a folder is no URL."""
    if value is not None and is_url(value):
        remedy = "copy it here, or mount it, and give its path"
        if path == ("data", "source"):
            remedy += "; or read it in a function of yours, file.py:function"
        findings.error(path, "must be on this machine, and is a URL", remedy=remedy)
