"""A target in Python that is told who calls; copy `read_header`. In the lab: sudo scripts/read-header python

Listen where nobody but the load balancer reaches you: who can connect can write a header. Its checksum is not verified.
"""

import socket
import socketserver
import struct
from ipaddress import ip_address

TIMEOUT_S = 5.0


def read_exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:  # it may come in any number of segments
        data += (more := connection.recv(count - len(data)))
        if not more:
            raise ConnectionError("the stream ended in its header")
    return data


def read_header(connection: socket.socket) -> tuple[str, int, str | None] | None:
    """Client, its port, endpoint; None for LOCAL: no client. Takes the header and no byte more. Raises: then close."""
    connection.recv(1, socket.MSG_PEEK)  # it comes with the client's first data, and that when the client likes
    connection.settimeout(TIMEOUT_S)
    signature, command, family, length = struct.unpack("!12sBBH", read_exactly(connection, 16))
    if signature != b"\r\n\r\n\0\r\nQUIT\n" or command not in (0x20, 0x21):
        raise ValueError("no Proxy Protocol v2 header")
    rest = read_exactly(connection, length)
    connection.settimeout(None)
    if command == 0x20:  # LOCAL: the load balancer itself, for instance its health check
        return None
    size = {0x11: 4, 0x21: 16}[family]  # TCP over IPv4 or IPv6: client and destination, then their ports
    client, (client_port,) = ip_address(rest[:size]), struct.unpack_from("!H", rest, 2 * size)
    endpoint, at = None, 2 * size + 4
    while at < length:  # TLVs: type, length, value
        kind, value_bytes = struct.unpack_from("!BH", rest, at)
        value, at = rest[at + 3 : at + 3 + value_bytes], at + 3 + value_bytes
        if kind == 0xEA and value[:1] == b"\x01":  # AWS, endpoint id
            endpoint = value[1:].decode("ascii")
    if at != length:
        raise ValueError("the last TLV does not end with the header")
    return str(client), client_port, endpoint


class Orders(socketserver.StreamRequestHandler):
    def setup(self) -> None:
        self.caller = read_header(self.request)  # <- THE LINE THAT MATTERS: before anything else is read
        super().setup()

    def handle(self) -> None:
        print(f"{self.caller}, by way of {self.client_address[0]}, says {self.rfile.readline()!r}", flush=True)
        self.wfile.write(b"welcome\n")


if __name__ == "__main__":
    socketserver.ThreadingTCPServer(("10.9.3.30", 9100), Orders).serve_forever()
