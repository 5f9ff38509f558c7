"""What stands between an operator and its API server, and kills the operator right after one of its writes.

Owns the count of writes. A write has reached the API server and was answered when the operator is killed, and the operator never
sees that answer. Renewals of the operators' own lease come by the clock and are not counted.
"""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WRITES = ("POST", "PUT", "PATCH", "DELETE")
ELECTION = "/leases/ottla-operator"


class Gate(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api):
        super().__init__(("127.0.0.1", 0), Passage)
        self.api, self.lock = api, threading.Lock()
        self.writes, self.told, self.last, self.kill = 0, [], None, None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def arm(self, last, kill):
        """Has `kill` called after `last` more writes (None: never), and counts from now on. What was written since the last time."""
        with self.lock:
            told = self.told
            self.writes, self.told, self.last, self.kill = 0, [], last, kill
            return told

    def wrote(self, what):
        """Counts a write that was answered. Whether nobody is there any more to hear the answer."""
        with self.lock:
            self.writes += 1
            self.told.append(what)
            if self.last is None or self.writes < self.last:
                return False
            # Once only, with what the killed one still had in flight.
            self.kill()
            return True

    def handle_error(self, request, client_address):
        """Who was killed hangs up, in the middle of anything."""


class Passage(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection", "accept-encoding")}
        line = self.server.api.connection(timeout=3600)
        try:
            line.request(self.command, self.path, body or None, headers)
            answer = line.getresponse()
            counted = self.command in WRITES and ELECTION not in self.path and not self.path.endswith("/leases")
            if counted and self.server.wrote(f"{self.command} {self.path.split('?')[0]} {answer.status}"):
                self.close_connection = True
                return
            self.answer(answer)
        except (OSError, http.client.HTTPException):
            self.close_connection = True
        finally:
            line.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

    def answer(self, answer):
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        if answer.headers.get("Content-Length") is not None:
            self.end_headers()
            self.wfile.write(answer.read())
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while data := answer.read1(1 << 16):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
