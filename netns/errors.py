"""What the kernel refuses, with the words that a person needs to see."""

import os


class KernelError(OSError):
    """The kernel would not do it. `errno` is the kernel's; the text names the namespace and the deed."""

    def __init__(self, errno: int, namespace: str, deed: str) -> None:
        super().__init__(errno, f"{namespace}: cannot {deed}: {os.strerror(errno)}")
        self.namespace = namespace
        self.deed = deed
