"""A date as files of boards state it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, Field


def _of_the_calendar(text: str) -> str:
    datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    return text


Date = Annotated[str, AfterValidator(_of_the_calendar), Field(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
"""``YYYY-MM-DD``, a day of the calendar."""
