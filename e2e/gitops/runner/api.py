"""The API server, as a program asks it: objects as dictionaries, and watches.

Owns how it is reached. Must never try again: whoever asks knows whether that is right.
"""

import base64
import http.client
import json
import pathlib
import ssl
import tempfile
import urllib.parse

MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"


class Refused(Exception):
    """What the API server says no with."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status = status


def path(resource, namespace=None, name=None, group="", version="v1", part=None):
    """Where objects lie: of a namespace or of all, one of them, or a part of one."""
    words = ["", "apis", group, version] if group else ["", "api", version]
    words += (["namespaces", namespace] if namespace else []) + [resource]
    return "/".join(words + ([name] if name else []) + ([part] if part else []))


def ours(resource, namespace=None, name=None, part=None):
    """The same, of Ottla's own kinds."""
    return path(resource, namespace, name, "ottla.dev", "v1alpha1", part)


class Api:
    def __init__(self, kubeconfig):
        config = json.loads(pathlib.Path(kubeconfig).read_text())
        server = urllib.parse.urlparse(config["clusters"][0]["cluster"]["server"])
        self.host, self.port = server.hostname, server.port
        user = config["users"][0]["user"]
        self.headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        # The certificate is one that the server has made for itself.
        self.trusting = ssl.create_default_context()
        self.trusting.check_hostname, self.trusting.verify_mode = False, ssl.CERT_NONE
        if "client-certificate-data" in user:
            with tempfile.NamedTemporaryFile() as shown:
                for key in ("client-certificate-data", "client-key-data"):
                    shown.write(base64.b64decode(user[key]))
                shown.flush()
                self.trusting.load_cert_chain(shown.name)

    def connection(self, timeout=60):
        return http.client.HTTPSConnection(self.host, self.port, context=self.trusting, timeout=timeout)

    def ask(self, method, where, body=None, kind=MERGE):
        """Sends one request; what is answered, as a dictionary."""
        headers = self.headers | ({"Content-Type": kind} if body is not None else {})
        line = self.connection()
        try:
            line.request(method, where, None if body is None else json.dumps(body), headers)
            answer = line.getresponse()
            text = answer.read()
        finally:
            line.close()
        if answer.status >= 300:
            raise Refused(answer.status, text.decode(errors="replace"))
        return json.loads(text)

    def get(self, where):
        return self.ask("GET", where)

    def find(self, where):
        """The object, or None."""
        try:
            return self.get(where)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def create(self, where, body):
        return self.ask("POST", where, body, "application/json")

    def merge(self, where, body):
        return self.ask("PATCH", where, body)

    def apply(self, where, body, manager="person"):
        return self.ask("PATCH", f"{where}?fieldManager={manager}&force=true", body, APPLY)

    def delete(self, where, seconds=None, uid=None):
        """Deletes an object, if it is there and is this one."""
        options = ({} if seconds is None else {"gracePeriodSeconds": seconds}) | ({"preconditions": {"uid": uid}} if uid else {})
        try:
            self.ask("DELETE", where, options, "application/json")
        except Refused as refused:
            if refused.status not in (404, 409):
                raise

    def follow(self, where, stop):
        """Every change of the objects there, those that are there already first: ADDED, MODIFIED or DELETED and the object."""
        held = self.get(where)
        kind, version = {"kind": held["kind"].removesuffix("List"), "apiVersion": held["apiVersion"]}, held["metadata"]["resourceVersion"]
        for item in held["items"]:
            yield "ADDED", kind | item
        while not stop.is_set():
            line = self.connection(timeout=3600)
            line.request("GET", f"{where}?watch=true&allowWatchBookmarks=true&resourceVersion={version}", headers=self.headers)
            answer = line.getresponse()
            if answer.status != 200:
                raise Refused(answer.status, answer.read().decode(errors="replace"))
            for text in answer:
                change = json.loads(text)
                if change["type"] == "ERROR":
                    raise Refused(change["object"].get("code"), change["object"].get("message"))
                version = change["object"]["metadata"]["resourceVersion"]
                if change["type"] != "BOOKMARK":
                    yield change["type"], change["object"]
