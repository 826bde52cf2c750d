"""Studies: from a question to arms, records, and a page with a verdict. Never imports torch itself."""

from __future__ import annotations
