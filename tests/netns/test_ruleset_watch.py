import select
import subprocess

import pytest

from netns import namespace as namespaces
from netns.namespace import NamespaceMissing
from netns.ruleset_watch import RulesetWatch
from netns.steer import Steering, apply
from tests.netns.crossings import run
from tests.netns.taps import HANG_GUARD_S

pytestmark = pytest.mark.netns


@pytest.fixture(autouse=True)
def announced() -> None:
    version = run("iptables", "--version")
    if "nf_tables" not in version:
        pytest.skip(f"{version.strip()}: the kernel announces changes of nf_tables only")


@pytest.mark.parametrize("deed", ["iptables -F", "ip6tables -P INPUT ACCEPT", "nft flush ruleset"])
def test_a_change_is_heard_at_once(prefix: str, deed: str) -> None:
    namespaces.create([prefix])
    apply(prefix, Steering())
    with RulesetWatch(prefix) as watch:
        assert not watch.heard()
        run("ip", "netns", "exec", prefix, *deed.split())
        assert select.select([watch], [], [], HANG_GUARD_S)[0] == [watch]
        assert watch.heard()
        assert not watch.heard(), "once"


def test_another_namespace_is_not_heard(prefix: str) -> None:
    namespaces.create([f"{prefix}-a", f"{prefix}-b"])
    with RulesetWatch(f"{prefix}-a") as watch:
        apply(f"{prefix}-b", Steering())
        assert not watch.heard()


def test_more_changes_than_the_socket_holds_are_heard(prefix: str) -> None:
    namespaces.create([prefix])
    chains = "".join(f":hp-{i} - [0:0]\n" for i in range(4000))
    with RulesetWatch(prefix) as watch:
        with namespaces.inside(prefix):
            subprocess.run(["iptables-restore"], input=f"*filter\n{chains}COMMIT\n", text=True, check=True)
        assert watch.heard()
        assert not watch.heard()


def test_a_missing_namespace_cannot_be_watched(prefix: str) -> None:
    with pytest.raises(NamespaceMissing):
        RulesetWatch(prefix)
