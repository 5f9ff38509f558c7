"""The parts that decide something: names and folders, control groups, what counts as a change of the machine, images."""

import tempfile
import unittest
from pathlib import Path

import cgroups
import local
import machine
import settings
import units


class Names(unittest.TestCase):
    def cluster(self):
        return settings.Cluster("test", "/home/someone/cluster")

    def test_nodes_are_called_as_kind_calls_them(self):
        names = [node.name for node in self.cluster().nodes]
        self.assertEqual(names, ["test-control-plane", "test-worker", "test-worker2", "test-worker3"])
        self.assertEqual([node.zone for node in self.cluster().workers], ["a", "b", "c"])

    def test_a_node_is_found_by_number_and_by_either_name(self):
        for text in ("2", "worker2", "test-worker2"):
            self.assertEqual(self.cluster().find(text).name, "test-worker2")
        with self.assertRaisesRegex(settings.Failed, "worker4.*0 .test-control-plane"):
            self.cluster().find("worker4")

    def test_bad_names_and_folders_are_refused(self):
        for name, folder, named in (("Big", "/home/x", "Big"), ("a" * 21, "/home/x", "at most 20"), ("a/b", "/home/x", "a/b"),
                                    ("a", "/var/lib/x", "CLUSTER_DIR"), ("a", "/run/user/x", "CLUSTER_DIR")):
            with self.assertRaisesRegex(settings.Failed, named):
                settings.Cluster(name, folder)

    def test_a_process_is_known_again_only_while_it_is_the_same(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pid"
            self.assertIsNone(settings.noted(path))
            settings.note(path, 1)
            self.assertEqual(settings.noted(path), 1)
            path.write_text("1 0\n")
            self.assertIsNone(settings.noted(path), "another process with the same id")

    def test_without_a_cluster_the_way_out_is_named(self):
        with self.assertRaisesRegex(settings.Failed, "cluster-up"):
            self.cluster().read()
        with tempfile.TemporaryDirectory() as folder, self.assertRaisesRegex(settings.Failed, "cluster-up"):
            local.Local(settings.Cluster("test", folder)).enter(["true"])


class Groups(unittest.TestCase):
    """On folders that look like hierarchies: the kernel's own files are written by hand."""

    def setUp(self):
        room = tempfile.TemporaryDirectory()
        self.addCleanup(room.cleanup)
        self.top = Path(room.name)
        self.mounts = self.top / "mounts"

    def mount(self, *kinds):
        for kind, name in kinds:
            (self.top / name).mkdir()
        self.mounts.write_text("".join(f"x {self.top}/{name} {kind} rw 0 0\n" for kind, name in kinds))

    def test_version_1_gets_a_group_in_every_hierarchy(self):
        self.mount(("cgroup", "cpuset"), ("cgroup", "memory"), ("cgroup2", "unified"))
        cgroups.make("ours/node", self.mounts)
        self.assertTrue((self.top / "cpuset/ours/node").is_dir() and (self.top / "memory/ours/node").is_dir())
        self.assertFalse((self.top / "unified/ours").exists())
        self.assertTrue(cgroups.remove("ours", self.mounts))
        self.assertFalse((self.top / "memory/ours").exists())
        self.assertTrue(cgroups.remove("ours", self.mounts), "nothing to remove is removed")

    def test_what_is_in_use_is_said_to_be_left(self):
        self.mount(("cgroup", "memory"))
        cgroups.make("ours/node", self.mounts)
        (self.top / "memory/ours/node/busy").write_text("")
        self.assertFalse(cgroups.remove("ours", self.mounts))

    def test_version_2_hands_its_controllers_down(self):
        self.mount(("cgroup2", "all"))
        (self.top / "all/cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        (self.top / "all/cgroup.subtree_control").write_text("cpuset cpu memory\n")
        cgroups.hand_down(self.top / "all")
        self.assertEqual((self.top / "all/cgroup.subtree_control").read_text(), "+pids")

    def test_a_machine_that_lacks_a_controller_is_told(self):
        self.mount(("cgroup2", "all"))
        (self.top / "all/cgroup.controllers").write_text("cpu pids\n")
        (self.top / "all/cgroup.subtree_control").write_text("\n")
        with self.assertRaisesRegex(cgroups.Missing, "cpuset, memory"):
            cgroups.make("ours", self.mounts)
        self.mounts.write_text("proc /proc proc rw 0 0\n")
        with self.assertRaisesRegex(cgroups.Missing, "no cgroup file system"):
            cgroups.make("ours", self.mounts)


class Machine(unittest.TestCase):
    def test_only_what_changed_is_named(self):
        before = {"links": "lo\neth0\n", "routes": "a\nb\n"}, {"vm.panic": "0\n", "gone": "1\n"}
        after = {"links": "lo\neth0\nnodes\n", "routes": "b\na\n"}, {"vm.panic": "10\n", "fs.xfs.new": "1\n"}
        self.assertEqual(machine.changes(before, after), [
            "links: new: nodes", "routes: in another order", "sysctl vm.panic: '0' became '10'", "sysctl gone: '1' became 'nothing'"])
        self.assertEqual(machine.changes(before, before), [])

    def test_this_machine_equals_itself_and_knows_its_settings(self):
        found = machine.snapshot()
        self.assertIn("vm.overcommit_memory", found[1])
        self.assertNotIn("kernel.random.uuid", found[1])
        self.assertTrue(found[0]["mounts"])


class Daemons(unittest.TestCase):
    def test_only_the_control_plane_runs_one_and_refuses_pods(self):
        cluster = settings.Cluster("test", "/home/someone/cluster")
        control, worker = (units.Units(cluster, cluster.nodes[index], "/bin") for index in (0, 1))
        self.assertEqual(set(worker.commands()), {"containerd", "kubelet", "kube-proxy"})
        self.assertEqual(set(control.commands()) - set(worker.commands()),
                         {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"})
        self.assertEqual((len(control.kubelet()["registerWithTaints"]), worker.kubelet()["registerWithTaints"]), (1, []))
        self.assertIn("topology.kubernetes.io/zone=a", " ".join(worker.commands()["kubelet"]))


if __name__ == "__main__":
    unittest.main()
