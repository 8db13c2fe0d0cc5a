"""A reader that sees the writer's stores in another order than they were made, as weakly ordered machines show them.

Only what the checksum answers for is promised (`hyperplane/flow/journal.py`).
"""

import pytest

from hyperplane.flow.journal import JournalWriter, journal_bytes
from hyperplane.limits import JOURNAL_ROW_BYTES
from tests.flow.flows import Flows
from tests.flow.journals import RING, fresh, read_all, reader_of

ROW_AT = journal_bytes(0, RING)
REST = range(ROW_AT + 8, ROW_AT + JOURNAL_ROW_BYTES)
"""Everything of the first row but its moving word."""


@pytest.mark.parametrize("used_before", [False, True], ids=["a new row", "a row that told of another flow"])
@pytest.mark.parametrize("late_first", [True, False], ids=["its beginning comes late", "its end comes late"])
def test_a_row_of_which_a_part_comes_late_is_not_read(used_before: bool, late_first: bool) -> None:
    memory, flows = fresh(), Flows()
    writer = JournalWriter(memoryview(memory))
    gone, comer = flows.entry(1), flows.entry(2, now=9.0)
    if used_before:
        writer.write(gone)
        writer.forget(gone)
    before = bytes(memory)
    writer.write(comer)
    changed = [at for at in REST if memory[at] != before[at]]
    assert len(changed) > 4
    for parted in range(1, len(changed)):
        seen = bytearray(memory)
        for at in changed[:parted] if late_first else changed[parted:]:
            seen[at] = before[at]
        assert read_all(reader_of(seen)) == [], parted
    (delta,) = read_all(reader_of(memory))
    assert delta.client_port == (40_002).to_bytes(2, "big")
