"""The JSON Schema of the record, for programs that do not know Python."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from mibench.results.record import SCHEMA_VERSION, Record


def record_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of this version of the record.

    It says which fields there are and of which type. What a record must hold beyond that is in the rules of the board.
    """
    made = Record.model_json_schema(mode="validation")
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:mibench:record:{SCHEMA_VERSION}",
        "title": f"mibench record, version {SCHEMA_VERSION}",
    }
    made["properties"]["schema_version"] = {"const": SCHEMA_VERSION}
    return {**head, **{name: value for name, value in made.items() if name != "title"}}


@cache
def schema_text() -> str:
    """Return the schema as text; equal versions have equal bytes."""
    return json.dumps(record_schema(), indent=1, sort_keys=True) + "\n"


def schema_name() -> str:
    """Return the name of the schema's file, which holds its version."""
    return f"record-{SCHEMA_VERSION}.schema.json"
