"""What an image archive holds, and what is refused."""

import io
import json
import subprocess
import tarfile
import tempfile
import unittest
from pathlib import Path

import oci


def unpacked(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar.getmembers() if info.isfile()}


class Archive(unittest.TestCase):
    def files(self):
        files = oci.Files()
        files.text("/etc/settings", "a=1\n")
        files.link("/bin/sh", "busybox")
        files.folder("/tmp", 0o1777)
        return files

    def test_descriptors_match_what_they_describe(self):
        parts = unpacked(oci.archive("localhost/ottla/broker:dev", self.files(), ["/bin/sh"], ["-c"], "65532", ["A=b"], "/tmp", "x86_64"))
        described = json.loads(parts["index.json"])["manifests"][0]
        manifest = parts["blobs/sha256/" + described["digest"][7:]]
        self.assertEqual((oci.digest(manifest), len(manifest)), (described["digest"], described["size"]))
        self.assertEqual(described["annotations"]["io.containerd.image.name"], "localhost/ottla/broker:dev")
        for part in [json.loads(manifest)["config"], *json.loads(manifest)["layers"]]:
            blob = parts["blobs/sha256/" + part["digest"][7:]]
            self.assertEqual((oci.digest(blob), len(blob)), (part["digest"], part["size"]))
        config = json.loads(parts["blobs/sha256/" + json.loads(manifest)["config"]["digest"][7:]])
        self.assertEqual(config["rootfs"]["diff_ids"], [json.loads(manifest)["layers"][0]["digest"]])
        self.assertEqual(config["config"]["User"], "65532")
        self.assertEqual(config["config"]["Env"][1:], ["A=b"])
        self.assertEqual((config["architecture"], config["config"]["WorkingDir"]), ("amd64", "/tmp"))
        docker = json.loads(parts["manifest.json"])[0]
        self.assertTrue({docker["Config"], *docker["Layers"]} <= parts.keys())

    def test_the_same_files_make_the_same_bytes(self):
        other = oci.Files()
        other.folder("/tmp", 0o1777)
        other.link("/bin/sh", "busybox")
        other.text("/etc/settings", "a=1\n")
        self.assertEqual(oci.archive("a:b", self.files()), oci.archive("a:b", other))

    def test_layers_have_folders_before_what_is_in_them(self):
        with tarfile.open(fileobj=io.BytesIO(self.files().layer())) as tar:
            names = tar.getnames()
            self.assertEqual(names, ["bin", "bin/sh", "etc", "etc/settings", "tmp"])
            self.assertEqual(tar.getmember("tmp").mode, 0o1777)
            self.assertEqual({(info.uid, info.gid, info.mtime) for info in tar.getmembers()}, {(0, 0, 0)})

    def test_what_makes_no_image_is_refused_by_name(self):
        files = self.files()
        cases = [
            (lambda: files.text("/etc/settings", "a=2\n"), "/etc/settings"),
            (lambda: files.text("etc/other", ""), "etc/other"),
            (lambda: files.copy("/does/not/exist"), "/does/not/exist"),
            (lambda: oci.archive("no-tag", files), "no-tag"),
            (lambda: oci.archive("Upper/case:1", files), "Upper/case:1"),
            (lambda: oci.archive("a:b", files, machine="riscv64"), "riscv64"),
        ]
        for refused, named in cases:
            with self.assertRaises(oci.Refused) as raised:
                refused()
            self.assertIn(named, str(raised.exception))

    def test_the_same_file_twice_is_one(self):
        files = self.files()
        files.text("/etc/settings", "a=1\n")
        files.folder("/etc")
        self.assertEqual(len(files.entries), 5)


class Libraries(unittest.TestCase):
    def test_paths_are_read_and_the_kernels_is_left_out(self):
        text = ("\tlinux-vdso.so.1 (0x00007ffd)\n\tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x00007f)\n"
                "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n")
        self.assertEqual(oci.parse_libraries(text, "broker"), [
            "/lib/x86_64-linux-gnu/libgcc_s.so.1", "/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"])

    def test_a_missing_library_is_named(self):
        with self.assertRaisesRegex(oci.Refused, "broker needs libz.so.1"):
            oci.parse_libraries("\tlibz.so.1 => not found\n", "broker")

    def test_a_binary_of_this_machine_comes_with_its_loader(self):
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "script"
            script.write_text("#!/bin/sh\n")
            self.assertEqual(oci.libraries(script), [])
        files = oci.Files()
        files.program("/bin/sh", "/bin/sh")
        self.assertTrue(any("ld-" in name for name in files.entries), files.entries.keys())

    def test_a_program_goes_without_its_line_tables_and_keeps_its_names(self):
        with tempfile.TemporaryDirectory() as folder:
            source, program = Path(folder) / "a.c", Path(folder) / "a"
            source.write_text("int answer(void) { return 42; } int main(void) { return answer(); }\n")
            subprocess.run(["cc", "-g", "-O0", "-o", program, source], check=True)
            small = oci.without_debug(program)
            self.assertIn(b".debug_line", program.read_bytes())
            self.assertNotIn(b".debug_line", small)
            self.assertIn(b"answer", small)
            self.assertEqual(small, oci.without_debug(program))

    def test_what_is_no_program_is_named(self):
        with self.assertRaisesRegex(oci.Refused, "no-such-program"):
            oci.without_debug("/no-such-program")


if __name__ == "__main__":
    unittest.main()
