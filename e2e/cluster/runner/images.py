"""The images that a cluster of e2e/cluster needs itself, out of what e2e/kubernetes/build.sh builds.

Owns which files go into which image, and which nodes need it. busybox is for whoever tests something.
"""

import shutil
import subprocess
import sys

import settings

sys.path.insert(0, str(settings.ROOT / "deploy/image"))
import oci  # noqa: E402


def build(what):
    """Builds binaries once (see build.sh for `what`), and says where they are."""
    done = subprocess.run([settings.ROOT / "e2e/kubernetes/build.sh", what], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise settings.Failed("what the cluster runs cannot be built: see above")
    return done.stdout.strip()


def busybox():
    """The folder of busybox, with a link for each of its commands."""
    files, program = oci.Files(), find("busybox")
    files.program(program, "/bin/busybox")
    for name in subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout.split():
        if name != "busybox":
            files.link(f"/bin/{name}", "busybox")
    files.folder("/tmp", 0o1777)
    return files


def volumes(binaries):
    """The driver, with the tools that make and grow file systems."""
    files = oci.Files()
    files.copy(f"{binaries}/add-ons/volumes", "/volumes", 0o755)
    for name in ("mkfs.xfs", "xfs_growfs"):
        files.program(find(name), f"/usr/sbin/{name}")
    return files


def single(program):
    files = oci.Files()
    files.copy(program, "/program", 0o755)
    return files


def find(name):
    found = shutil.which(name, path=settings.home_tools()["PATH"])
    if found is None:
        raise settings.Failed(f"{name} is missing: `e2e/setup/need cluster` says how to get it")
    return found


def add_ons(folder, binaries):
    """Writes the archives; pairs of each and the kind of nodes that need it: `control`, `workers` or `all`."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []

    def write(name, version, files, entrypoint, where="all"):
        path = folder / f"{name}.tar"
        fresh = path.with_suffix(".new")
        fresh.write_bytes(oci.archive(f"localhost/ottla/{name}:{version}", files, entrypoint))
        fresh.rename(path)
        made.append((path, where))

    shell = busybox()
    write("pause", 1, shell, ["/bin/sleep", "infinity"])
    write("busybox", 1, shell, [])
    write("coredns", 1, single(f"{binaries}/add-ons/dns"), ["/program"], "control")
    write("volumes", 1, volumes(binaries), ["/volumes"])
    write("csi-resizer", 1, single(f"{binaries}/add-ons/csi-resizer"), ["/program"], "control")
    write("csi-provisioner", 1, single(f"{binaries}/add-ons/csi-provisioner"), ["/program"], "workers")
    return made
