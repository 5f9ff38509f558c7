"""The certificates and kubeconfigs of a local cluster, made anew each time it starts.

Owns the folder `pki` of the cluster and its kubeconfig. Keys are readable by their owner only, and valid for a year.
"""

import base64
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import settings

CLIENT = "keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n"
SERVER = "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n"
AUTHORITY = "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"
# Kubernetes' own users; nodes have one each.
USERS = {
    "admin": "/O=system:masters/CN=kubernetes-admin",
    "kube-controller-manager": "/CN=system:kube-controller-manager",
    "kube-scheduler": "/CN=system:kube-scheduler",
    "kube-proxy": "/CN=system:kube-proxy",
}


class Pki:
    def __init__(self, cluster):
        self.cluster, self.folder = cluster, cluster.pki

    def openssl(self, *arguments):
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise settings.Failed(f"openssl {arguments[0]}: {done.stderr.strip()}")

    def key(self, name):
        self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")

    def authority(self, name):
        self.key(name)
        self.openssl("req", "-x509", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}", "-days", "365", "-out", f"{name}.crt",
                     "-addext", AUTHORITY)

    def leaf(self, name, subject, extensions, authority="ca"):
        self.key(name)
        self.openssl("req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
        (self.folder / f"{name}.ext").write_text(extensions)
        # A serial each: these run beside one another and must not share a counter.
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.crt", "-CAkey", f"{authority}.key", "-days", "365",
                     "-set_serial", f"0x{os.urandom(8).hex()}", "-extfile", f"{name}.ext", "-out", f"{name}.crt")

    def service_account_key(self):
        self.openssl("genrsa", "-out", "sa.key", "2048")
        self.openssl("rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub")

    def encoded(self, name):
        return base64.b64encode((self.folder / name).read_bytes()).decode()

    def write_kubeconfig(self, user, path, server):
        name = self.cluster.name
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": name,
            "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": self.encoded("ca.crt")}}],
            "users": [{"name": user, "user": {"client-certificate-data": self.encoded(f"{user}.crt"),
                                              "client-key-data": self.encoded(f"{user}.key")}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=2))

    def make(self, port):
        """Everything, with a kubeconfig for people that reaches the API server at `port` of the loopback address."""
        self.folder.mkdir(mode=0o700)
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"]
        addresses = ["127.0.0.1", settings.API_SERVICE, self.cluster.control.address]
        alternatives = ",".join([f"DNS:{name}" for name in names] + [f"IP:{address}" for address in addresses])
        self.authority("ca")
        self.authority("front-proxy-ca")
        users = USERS | {f"kubelet-{node.name}": f"/O=system:nodes/CN=system:node:{node.name}" for node in self.cluster.nodes}
        leaves = [
            ("apiserver", "/CN=kube-apiserver", f"{SERVER}subjectAltName={alternatives}\n"),
            ("apiserver-kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client", CLIENT),
            ("front-proxy-client", "/CN=front-proxy-client", CLIENT, "front-proxy-ca"),
            *((name, subject, CLIENT) for name, subject in users.items()),
        ]
        with ThreadPoolExecutor(4) as threads:
            made = [threads.submit(self.service_account_key), *(threads.submit(self.leaf, *leaf) for leaf in leaves)]
        for one in made:
            one.result()
        inside = f"https://{self.cluster.control.address}:{settings.API_PORT}"
        for user in users:
            self.write_kubeconfig(user, self.folder / f"{user}.kubeconfig", inside)
        self.write_kubeconfig("admin", self.cluster.kubeconfig, f"https://127.0.0.1:{port}")
