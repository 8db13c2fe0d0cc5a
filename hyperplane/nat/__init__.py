"""How a packet is changed: addresses and ports, checksums, and the pool that source ports come from."""
