"""The time from starting a broker to its first acknowledged record, by a client that is there from the first moment.

Speaks just enough of the protocol itself (Metadata 1, Produce 3), because a library's own back-off would be measured
instead. Retries every millisecond until a produce with acks=all is acknowledged.
"""

import socket
import struct
import time


def crc32c_table():
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


TABLE = crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def batch():
    """One record, value `x`, no key, time 0 plus now."""
    now = int(time.time() * 1000)
    record = bytes([0, 0, 0, 1, 2]) + b"x" + bytes([0])  # attributes, deltas, null key, one byte, no headers
    records = bytes([2 * len(record)]) + record
    body = struct.pack(">hiqqqhii", 0, 0, now, now, -1, -1, -1, 1) + records
    return struct.pack(">qiibI", 0, 9 + len(body), -1, 2, crc32c(body)) + body


def text(words):
    return struct.pack(">h", len(words)) + words.encode()


def ask(connection, key, version, body):
    request = struct.pack(">hhi", key, version, 7) + text("first") + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    size = struct.unpack(">i", receive(connection, 4))[0]
    return receive(connection, size)[4:]


def receive(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError("closed")
        data += part
    return data


def acknowledged(connection, topic):
    """Whether one produce was acknowledged; the topic is created on demand."""
    ask(connection, 3, 1, struct.pack(">i", 1) + text(topic))
    data = batch()
    body = struct.pack(">hhii", -1, -1, 5000, 1) + text(topic) + struct.pack(">iii", 1, 0, len(data)) + data
    answer = ask(connection, 0, 3, body)
    at = 4 + 2 + len(topic) + 4 + 4  # topics, the name, partitions, the index
    return struct.unpack(">h", answer[at:at + 2])[0] == 0


def first_ack(address, began, patience=120):
    """Seconds from `began` (monotonic) to the first acknowledgement."""
    host, port = address.rsplit(":", 1)
    while time.monotonic() - began < patience:
        try:
            with socket.create_connection((host, int(port)), 5) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while time.monotonic() - began < patience:
                    if acknowledged(connection, "first"):
                        return time.monotonic() - began
                    time.sleep(0.001)
        except OSError:
            time.sleep(0.001)
    raise SystemExit(f"no acknowledgement from {address} after {patience} s")
