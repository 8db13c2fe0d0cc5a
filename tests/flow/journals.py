"""Journals for tests: small, in ordinary memory, and read to the end."""

from hyperplane.flow.journal import Delta, JournalReader, format_journal, journal_bytes

ROWS, RING = 8, 16
AT_MOST = 4


def fresh(rows: int = ROWS, ring: int = RING) -> bytearray:
    memory = bytearray(journal_bytes(rows, ring))
    format_journal(memoryview(memory), rows, ring)
    return memory


def reader_of(memory: bytearray) -> JournalReader:
    return JournalReader(memoryview(memory))


def read_all(reader: JournalReader, at_most: int = AT_MOST) -> list[Delta]:
    """Everything there is to read now."""
    found: list[Delta] = []
    while reader.behind:
        found += reader.read(at_most)
    return found
