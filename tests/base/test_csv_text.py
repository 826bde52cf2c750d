"""Tables as text: what a spreadsheet reads back is what was put in."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from mibench.base.csv_text import csv_text

# Python's reader takes a lone carriage return for the end of a line even between quotes, and no NUL.
TEXTS = st.text(st.characters(exclude_characters="\r\0", exclude_categories=("Cs",)), max_size=12)


@given(st.lists(st.tuples(TEXTS, st.none() | st.integers(), TEXTS), max_size=6))
def test_a_reader_gets_back_what_was_written(rows: list[tuple[str, int | None, str]]) -> None:
    columns = ("a", "b,c", 'd"e')
    read = list(csv.reader(io.StringIO(csv_text(columns, rows), newline="")))
    assert read[0] == list(columns)
    assert read[1:] == [["" if cell is None else str(cell) for cell in row] for row in rows]


def test_lines_end_as_git_keeps_them() -> None:
    assert csv_text(["a", "b"], [[1, None], ["x\ny", 0.5]]) == 'a,b\n1,\n"x\ny",0.5\n'
