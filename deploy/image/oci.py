"""OCI images out of files of this machine, without Docker and without a registry.

Owns the bytes of an image archive: the same files and settings make the same bytes, wherever and whenever. The archive is
an OCI layout that also carries Docker's manifest.json, so that `ctr images import`, `kind load image-archive`, `docker
load` and `skopeo copy oci-archive:` take it. Layers are not compressed: who pushes an image does that. Must never read
anything that it was not told to, and never write a half archive under its final name.

Only Python's own library is used.
"""

import hashlib
import io
import json
import os
import pathlib
import platform
import re
import subprocess
import tarfile
import tempfile

# Machine names of the kernel, and what an image calls them.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# A name with a tag, as containerd and Docker write it in full: localhost/ottla/broker:dev.
REFERENCE = re.compile(r"[a-z0-9]+([._:/-][a-z0-9]+)*:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
LIBRARY = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$")
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# Who runs where nobody needs root; the number that distroless images have for the same.
USER = 65532


class Refused(Exception):
    """Something cannot be put into an image; the sentence says what, and what to do."""


class Files:
    """What a layer holds: paths in the image, each once, folders above them made as needed."""

    def __init__(self):
        self.entries = {}

    def folder(self, path, mode=0o755):
        self.put(path, tarfile.DIRTYPE, mode)

    def text(self, path, text, mode=0o644):
        self.put(path, tarfile.REGTYPE, mode, text.encode())

    def copy(self, source, path=None, mode=None):
        """A file of this machine, by default at the path that it has here; links are followed."""
        try:
            content = pathlib.Path(source).read_bytes()
            found = os.stat(source).st_mode & 0o777
        except OSError as error:
            raise Refused(f"cannot read {source}: {error.strerror}") from error
        self.put(path or str(source), tarfile.REGTYPE, found if mode is None else mode, content)

    def link(self, path, target):
        self.put(path, tarfile.SYMTYPE, 0o777, target=target)

    def program(self, source, path=None):
        """A binary of this machine with the loader and every library that it names."""
        self.put(path or str(source), tarfile.REGTYPE, 0o755, without_debug(source))
        for library in libraries(source):
            self.copy(library, mode=0o755)

    def put(self, path, kind, mode, content=b"", target=""):
        name = os.path.normpath(str(path)).strip("/")
        if not str(path).startswith("/") or name in ("", "."):
            raise Refused(f"{path!r} is no path in an image: it must begin with / and name something")
        parent = os.path.dirname(name)
        if parent and parent not in self.entries:
            self.folder("/" + parent)
        entry = (kind, mode, content, target)
        before = self.entries.setdefault(name, entry)
        if before != entry:
            raise Refused(f"/{name} is put into the image twice, as different things")

    def layer(self):
        """The tar, its entries in order of path, without times and owners of this machine."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, (kind, mode, content, target) in sorted(self.entries.items()):
                info = tarfile.TarInfo(name)
                info.type, info.mode, info.size, info.linkname = kind, mode, len(content), target
                tar.addfile(info, io.BytesIO(content))
        return out.getvalue()


def without_debug(binary):
    """The bytes of a program without its line tables, which are three quarters of ours. Names of functions stay."""
    with tempfile.TemporaryDirectory() as folder:
        small = pathlib.Path(folder) / "small"
        try:
            done = subprocess.run(["objcopy", "--strip-debug", str(binary), str(small)], capture_output=True, text=True)
        except FileNotFoundError:
            raise Refused("objcopy is missing: install the package binutils") from None
        if done.returncode != 0:
            raise Refused(f"cannot read {binary}: {done.stderr.strip()}")
        return small.read_bytes()


def libraries(binary):
    """The loader and the libraries that a binary needs, as paths; none for a static one."""
    done = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, env={"PATH": os.environ["PATH"], "LC_ALL": "C"})
    if "not a dynamic executable" in done.stderr or "statically linked" in done.stdout:
        return []
    if done.returncode != 0:
        raise Refused(f"ldd {binary}: {done.stderr.strip() or done.stdout.strip()}")
    return parse_libraries(done.stdout, binary)


def parse_libraries(text, binary):
    """The paths in what `ldd` prints. The kernel's own (linux-vdso) has none."""
    found = []
    for line in text.splitlines():
        if "not found" in line:
            raise Refused(f"{binary} needs {line.split()[0]}, which this machine does not have")
        if match := LIBRARY.match(line):
            found.append(match[1])
    return found


def as_nobody(files, name="ottla"):
    """What a program that does not run as root expects to find: who it is, and a /tmp."""
    files.text("/etc/passwd", f"root:x:0:0:root:/:/sbin/nologin\n{name}:x:{USER}:{USER}:{name}:/:/sbin/nologin\n")
    files.text("/etc/group", f"root:x:0:\n{name}:x:{USER}:\n")
    files.folder("/tmp", 0o1777)
    return f"{USER}:{USER}"


def certificates(files):
    """The authorities that this machine trusts, for TLS to the outside."""
    if not os.path.exists(CERTIFICATES):
        raise Refused(f"{CERTIFICATES} is missing: install the package ca-certificates")
    files.copy(CERTIFICATES, mode=0o644)


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def described(kind, content, **more):
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest(content), "size": len(content), **more}


def encoded(document):
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def archive(reference, files, entrypoint=(), command=(), user="", environment=(), folder="", machine=None):
    """The bytes of an image archive with one layer.

    `reference` is a name with a tag; `user` is what runs it (`65532:65532`, or nothing for root); `environment` holds
    NAME=VALUE.
    """
    if not REFERENCE.fullmatch(reference):
        raise Refused(f"{reference!r} is no name of an image: it must look like localhost/ottla/broker:dev")
    architecture = ARCHITECTURES.get(machine or platform.machine())
    if architecture is None:
        raise Refused(f"images for {machine or platform.machine()} are not made here; for {', '.join(ARCHITECTURES)} they are")
    where = {"architecture": architecture, "os": "linux"}
    settings = {
        "Entrypoint": list(entrypoint), "Cmd": list(command), "User": user, "WorkingDir": folder,
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *environment],
    }
    layer = files.layer()
    config = encoded(where | {
        "created": "1970-01-01T00:00:00Z", "config": {key: value for key, value in settings.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "deploy/image"}],
    })
    manifest = encoded({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described("config.v1+json", config), "layers": [described("layer.v1.tar", layer)],
    })
    names = {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference.rsplit(":", 1)[1]}
    index = encoded({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [described("manifest.v1+json", manifest, platform=where, annotations=names)],
    })

    def blob(content):
        return "blobs/sha256/" + digest(content).removeprefix("sha256:")

    docker = encoded([{"Config": blob(config), "RepoTags": [reference], "Layers": [blob(layer)]}])
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", index), ("manifest.json", docker),
                              *sorted((blob(content), content) for content in (config, manifest, layer))]:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()
