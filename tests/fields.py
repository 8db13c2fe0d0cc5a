"""Hypothesis strategies for header fields and header values. Edges (0, all ones) come up often."""

import itertools

from hypothesis import strategies as st

from hyperplane.wire.icmp import IcmpError
from hyperplane.wire.ipv4 import Ipv4Header
from hyperplane.wire.ipv6 import Ipv6Header
from hyperplane.wire.tcp import TcpHeader
from hyperplane.wire.tcp_options import (
    OPTIONS_BYTES_MAX,
    MaximumSegmentSize,
    NoOperation,
    Sack,
    SackPermitted,
    TcpOption,
    Timestamps,
    UnknownOption,
    WindowScale,
    emit_options,
)

KNOWN_KINDS = (2, 3, 4, 5, 8)


def unsigned(bits: int) -> st.SearchStrategy[int]:
    """Any number of so many bits."""
    return st.sampled_from([0, (1 << bits) - 1]) | st.integers(0, (1 << bits) - 1)


ipv4_addresses = st.binary(min_size=4, max_size=4)
ipv6_addresses = st.binary(min_size=16, max_size=16)
address_pairs = st.binary(min_size=8, max_size=8) | st.binary(min_size=32, max_size=32)
"""Source and destination, of either family."""
payloads = st.binary(max_size=64)
tcp_flags = unsigned(9)

sack_blocks = st.lists(st.tuples(unsigned(32), unsigned(32)), min_size=1, max_size=4).map(tuple)
unknown_options = st.builds(
    UnknownOption, st.integers(6, 255).filter(lambda kind: kind not in KNOWN_KINDS), st.binary(max_size=18)
)
oddly_long_options = st.one_of(
    st.builds(UnknownOption, st.just(2), st.binary(max_size=6).filter(lambda body: len(body) != 2)),
    st.builds(UnknownOption, st.just(3), st.binary(max_size=6).filter(lambda body: len(body) != 1)),
    st.builds(UnknownOption, st.just(4), st.binary(min_size=1, max_size=6)),
    st.builds(UnknownOption, st.just(5), st.binary(max_size=15).filter(lambda body: not body or len(body) % 8)),
    st.builds(UnknownOption, st.just(8), st.binary(max_size=12).filter(lambda body: len(body) != 8)),
)
"""Known kinds with a length that is not theirs."""
known_options: st.SearchStrategy[TcpOption] = st.one_of(
    st.just(NoOperation()),
    st.builds(MaximumSegmentSize, unsigned(16)),
    st.builds(WindowScale, unsigned(8)),
    st.just(SackPermitted()),
    st.builds(Sack, sack_blocks),
    st.builds(Timestamps, unsigned(32), unsigned(32)),
)
option_values = known_options | unknown_options | oddly_long_options


def _that_fit(options: list[TcpOption]) -> tuple[TcpOption, ...]:
    """As many of the first options as a header has room for."""
    totals = itertools.accumulate(len(emit_options([option])) for option in options)
    return tuple(options[: sum(total <= OPTIONS_BYTES_MAX for total in totals)])


option_lists = st.lists(option_values, max_size=12).map(_that_fit)
known_option_lists = st.lists(known_options, max_size=12).map(_that_fit)

ipv4_headers = st.builds(
    Ipv4Header,
    source=ipv4_addresses,
    destination=ipv4_addresses,
    protocol=unsigned(8),
    total_length=st.integers(60, 0xFFFF),
    ttl=unsigned(8),
    traffic_class=unsigned(8),
    identification=unsigned(16),
    flags=unsigned(3),
    fragment_offset=unsigned(13),
    options=st.integers(0, 10).flatmap(lambda words: st.binary(min_size=words * 4, max_size=words * 4)),
)
ipv6_headers = st.builds(
    Ipv6Header,
    source=ipv6_addresses,
    destination=ipv6_addresses,
    next_header=unsigned(8),
    payload_length=unsigned(16),
    hop_limit=unsigned(8),
    traffic_class=unsigned(8),
    flow_label=unsigned(20),
)


def tcp_headers(options: st.SearchStrategy[tuple[TcpOption, ...]] = option_lists) -> st.SearchStrategy[TcpHeader]:
    """Any TCP header with options from `options`."""
    return st.builds(
        TcpHeader,
        source_port=unsigned(16),
        destination_port=unsigned(16),
        sequence=unsigned(32),
        acknowledgment=unsigned(32),
        flags=tcp_flags,
        window=unsigned(16),
        urgent_pointer=unsigned(16),
        options=options,
    )


icmp_errors = st.one_of(
    st.builds(IcmpError, st.just(4), st.sampled_from([3, 11, 12]), unsigned(8), unsigned(32), payloads),
    st.builds(IcmpError, st.just(6), st.sampled_from([1, 2, 3, 4]), unsigned(8), unsigned(32), payloads),
)
