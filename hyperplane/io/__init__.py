"""The doors: the only room with sockets, processes, clocks, randomness and logging."""
