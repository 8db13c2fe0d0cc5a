"""The ground: Linux network namespaces and the wires between them.

This package turns a topology, a plain value, into namespaces, veth pairs, bridges, addresses,
routes, policy rules and packet steering, and takes all of it away again. It speaks of
interfaces and packets only; what they are for is the business of its callers.

Three promises:

* Everything it makes carries one prefix (`names.PREFIX`), so all of it can be found and removed.
* `build` makes the kernel equal to the topology and reports what it had to change. A second run
  changes nothing, so the same call builds, repairs and checks.
* What steers packets fails closed. Where a rule is missing, packets go nowhere.

Calls are synchronous. pyroute2 runs an event loop of its own inside, so call from a thread that
runs none (`asyncio.to_thread` is fine, under uvloop too).
"""
