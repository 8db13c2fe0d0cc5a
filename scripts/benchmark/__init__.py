"""`make bench`: this dataplane beside what a user would pick instead, in one interleaved run.

The ground is one client namespace, one server namespace and one middle namespace per contender:

    client --- hp-bench-routing    --- server      plain forwarding, the floor of every latency
      |  \\---- hp-bench-nftables   ---/ /          DNAT and SNAT by the kernel
      |   \\--- hp-bench-haproxy    ---/            a proxy in TCP mode
      \\------- hp-bench-hyperplane --/             this project

All contenders are up all the time and are measured in turn, A B C D, B C D A, and so on; a ratio is only
ever taken between two figures of the same round. Generator, contender and target share the machine.

What keeps it fair, and why: a target remembers a closed connection for 60 s and drops a SYN from the same
address and port that looks older (RFC 6191, RFC 9293 3.6.1). So each contender has a source address of its
own towards the same 32 targets, and port ranges are wide. What the target still refuses is counted and reported.

The Proxy Protocol header has a block of its own: hyperplane's and HAProxy's listeners with it stand beside those
without, and the same rounds go through such `lanes` in turn.

Reading order: `ground` (namespaces), `contenders`, `measurements`, `rounds` (the interleaving), `table`; then
`lanes`, `header_measurements`, `header_block`.
"""
