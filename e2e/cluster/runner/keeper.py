#!/usr/bin/env python3
"""Process 1 of a local cluster: as long as it lives, there is a cluster; when it ends, the kernel ends everything in it.

    keeper.py FOLDER NAME SOCKET LISTENER

Owns the network between the nodes: a bridge in a network namespace of its own, without a way to the machine's network.
It also passes connections on to the API server, from two sockets at the loopback address: LISTENER, which was opened in
the machine's network, and one of the same port in here. So one kubeconfig is right on both sides. It starts no node and
decides nothing.
"""

import asyncio
import signal
import socket
import subprocess
import sys

import settings

CHUNK = 65536


def network():
    """The bridge that nodes are plugged into, and forwarding between what is on it. Nothing leads out of here."""
    for line in (
        f"link add {settings.BRIDGE} type bridge", f"addr add {settings.OUTSIDE}/24 dev {settings.BRIDGE}",
        f"link set {settings.BRIDGE} up", "link set lo up",
    ):
        subprocess.run(["ip", *line.split()], check=True)


async def pump(reader, writer):
    try:
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    except OSError:
        # Either side is gone; closing tells the other one.
        writer.close()


async def pass_on(reader, writer, address):
    try:
        api_reader, api_writer = await asyncio.open_connection(address, settings.API_PORT)
    except OSError:
        # As the server itself would refuse; whoever asked sees the connection end.
        writer.close()
        return
    await asyncio.gather(pump(reader, api_writer), pump(api_reader, writer))
    writer.close()
    api_writer.close()


async def serve(cluster, listeners):
    address = cluster.control.address
    for listener in listeners:
        await asyncio.start_server(lambda reader, writer: pass_on(reader, writer, address), sock=listener)
    await asyncio.Event().wait()


def main():
    cluster = settings.Cluster(sys.argv[2], sys.argv[1])
    born, outer = (socket.socket(fileno=int(number)) for number in sys.argv[3:5])
    # What loses its parent in here is ours; nobody asks how it ended.
    network()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    inner = socket.socket()
    inner.bind(("127.0.0.1", outer.getsockname()[1]))
    inner.listen()
    born.sendall(b"up")
    born.close()
    asyncio.run(serve(cluster, [outer, inner]))


if __name__ == "__main__":
    main()
