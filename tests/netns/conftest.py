"""Names that no other run uses, and a machine that is as clean afterwards as before."""

import secrets
from collections.abc import Iterator

import pytest

from netns import namespace as namespaces
from netns.clean import clean


@pytest.fixture
def prefix() -> Iterator[str]:
    """A prefix for this test's namespaces. All of it is removed at the end, which is tested on the way."""
    name = f"hp-t{secrets.token_hex(3)}"
    yield name
    clean(name)
    assert not [left for left in namespaces.list_names() if left.startswith(name)]
