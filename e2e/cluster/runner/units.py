"""What a node of a local cluster runs, and how each of it is configured.

Owns the folder `etc` of the node. The numbers that differ from Kubernetes' defaults are here, each with its reason.
"""

import json
import os
import subprocess

import settings

PAUSE = "localhost/ottla/pause:1"
CONTAINERD = "/run/containerd/containerd.sock"
CNI_FOLDERS = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
# A node is NotReady after 20 s without news instead of 50: failures are what this cluster is for.
LEASE_SECONDS = 16
GRACE_SECONDS = 20
TAINT = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


def snapshotter(folder):
    """Overlays cannot lie on overlays, as where this machine is itself a container."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], check=True, capture_output=True, text=True).stdout.strip()
    return "native" if kind == "overlayfs" else "overlayfs"


class Units:
    def __init__(self, cluster, node, bin_folder):
        self.cluster, self.node, self.bin = cluster, node, bin_folder
        self.etc = node.folder / "etc"
        self.cni = next((folder for folder in CNI_FOLDERS if os.path.exists(f"{folder}/ptp")), CNI_FOLDERS[0])

    def write(self):
        (self.etc / "cni").mkdir(parents=True, exist_ok=True)
        (self.etc / "containerd.toml").write_text(self.containerd())
        # No names but the cluster's: there is nothing else to reach.
        (self.etc / "resolv.conf").write_text("")
        for name, content in (("cni/10-pods.conflist", self.pod_network()), ("kubelet.json", self.kubelet()),
                              ("kube-proxy.json", self.proxy())):
            (self.etc / name).write_text(json.dumps(content, indent=2))

    def commands(self):
        pki, node = self.cluster.pki, self.node
        found = {
            "containerd": ["containerd", f"--config={self.etc}/containerd.toml"],
            "kubelet": [
                f"{self.bin}/kubelet", f"--config={self.etc}/kubelet.json", f"--kubeconfig={pki}/kubelet-{node.name}.kubeconfig",
                f"--hostname-override={node.name}", f"--node-ip={node.address}", "--cert-dir=/var/lib/kubelet/pki",
                f"--node-labels=topology.kubernetes.io/zone={node.zone},topology.kubernetes.io/region=local",
            ],
            "kube-proxy": [f"{self.bin}/kube-proxy", f"--config={self.etc}/kube-proxy.json"],
        }
        return self.control_plane() | found if node.control else found

    def control_plane(self):
        """Each starts at once and again until what it needs is there: the manager ends when the API does not answer."""
        pki = self.cluster.pki

        def client(name):
            config = f"{pki}/{name}.kubeconfig"
            return [f"--kubeconfig={config}", f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}",
                    "--bind-address=127.0.0.1", "--leader-elect=false"]

        here, peers = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
        return {
            "etcd": [
                f"{self.bin}/etcd", "--name=one", "--data-dir=/var/lib/etcd", f"--listen-client-urls={here}",
                f"--advertise-client-urls={here}", f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}",
                f"--initial-cluster=one={peers}",
            ],
            "kube-apiserver": self.api_server(here),
            "kube-controller-manager": [
                f"{self.bin}/kube-controller-manager", *client("kube-controller-manager"), f"--root-ca-file={pki}/ca.crt",
                f"--service-account-private-key-file={pki}/sa.key", "--use-service-account-credentials=true",
                f"--cluster-signing-cert-file={pki}/ca.crt", f"--cluster-signing-key-file={pki}/ca.key",
                f"--node-monitor-grace-period={GRACE_SECONDS}s", "--node-monitor-period=2s",
            ],
            "kube-scheduler": [f"{self.bin}/kube-scheduler", *client("kube-scheduler")],
        }

    def api_server(self, etcd):
        pki = self.cluster.pki
        return [
            f"{self.bin}/kube-apiserver", f"--etcd-servers={etcd}", f"--service-cluster-ip-range={settings.SERVICES}",
            f"--secure-port={settings.API_PORT}", "--bind-address=0.0.0.0", f"--advertise-address={self.node.address}",
            f"--client-ca-file={pki}/ca.crt", f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key", "--allow-privileged=true",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-signing-key-file={pki}/sa.key", f"--service-account-key-file={pki}/sa.pub",
            f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet-client.key", "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
            f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt", "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User", f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
            f"--proxy-client-key-file={pki}/front-proxy-client.key",
        ]

    def containerd(self):
        """restrict_oom_score_adj (and kubelet's oomScoreAdj below): without CAP_SYS_RESOURCE no pod starts otherwise."""
        disabled = [f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs")]
        return f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = {json.dumps(["io.containerd.internal.v1.opt", *disabled])}
[grpc]
  address = "{CONTAINERD}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter(self.node.folder)}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{self.cni}"
    conf_dir = "{self.etc}/cni"
"""

    def pod_network(self):
        """A line from each pod to its node, without a bridge: needs no br_netfilter, and pods reach themselves by service."""
        # Addresses are forgotten when the node goes, as the pods' namespaces are.
        ipam = {"type": "host-local", "dataDir": "/run/cni/addresses", "ranges": [[{"subnet": self.node.pods}]],
                "routes": [{"dst": "0.0.0.0/0"}]}
        return {"cniVersion": "1.0.0", "name": "pods", "plugins": [
            {"type": "ptp", "ipMasq": False, "mtu": 1500, "ipam": ipam},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ]}

    def kubelet(self):
        never = dict.fromkeys(("nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree"), "0%")
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                               "x509": {"clientCAFile": f"{self.cluster.pki}/ca.crt"}},
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs", "cgroupRoot": f"/{self.cluster.cgroup}/{self.node.name}",
            # Kubernetes 1.35 and later refuse version 1 of cgroups unless told.
            "failCgroupV1": False, "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
            "clusterDNS": [settings.DNS_SERVICE], "clusterDomain": "cluster.local", "resolvConf": f"{self.etc}/resolv.conf",
            # The disk is the machine's: how full it is says nothing of this node.
            "evictionHard": never, "imageGCHighThresholdPercent": 100,
            "oomScoreAdj": 0, "maxOpenFiles": 20000,
            "nodeStatusUpdateFrequency": "5s", "nodeLeaseDurationSeconds": LEASE_SECONDS,
            # A volume that is to grow is seen when its pod is looked at again: every minute, by default.
            "syncFrequency": "10s",
            "registerWithTaints": [TAINT] if self.node.control else [],
            "shutdownGracePeriod": "0s",
        }

    def proxy(self):
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": "nftables",
            "clusterCIDR": settings.PODS, "hostnameOverride": self.node.name,
            "clientConnection": {"kubeconfig": f"{self.cluster.pki}/kube-proxy.kubeconfig"},
            # These are the whole machine's; zero leaves them alone.
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "nftables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
        }
