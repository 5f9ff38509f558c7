//! Listeners that clients outside connect to, on a real API server: it gives node ports, a test gives what nodes and load
//! balancers would.

use k8s_openapi::api::core::v1::{Binding, Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use ottla_operator::cluster::kind::Kind;
use serde_json::{Value, json};

use super::stage::{Stage, pools, until};
use super::{EVERYWHERE, is_absent, turns};

const ADVERTISED: &str = "ottla.dev/advertised-listeners";

fn spec(kind: &str) -> Value {
    json!({"pools": pools(2), "listeners": [
        {"name": "in", "port": 9092},
        {"name": "out", "port": 9094, "type": kind, "insecure": true, "brokerTemplate": {"annotations": {"who": "b{id}"}}},
    ]})
}

impl Stage {
    async fn node_port(&self, service: &str) -> i64 {
        let service = self.objects(Kind::Service).get(service).await.unwrap();
        service.data["spec"]["ports"][0]["nodePort"].as_i64().unwrap_or_default()
    }

    async fn advertises(&self, pod: &str, wanted: &str) {
        until(&format!("{pod} advertises {wanted}"), || async {
            let pod = self.objects(Kind::Pod).get(pod).await.unwrap();
            (pod.annotations().get(ADVERTISED).map(String::as_str) == Some(wanted)).then_some(())
        })
        .await;
    }

    /// Says of an object what somebody in Kubernetes would.
    async fn patch_status(&self, kind: Kind, name: &str, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        self.objects(kind).patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    async fn listener(&self, wanted: &str) {
        until(&format!("the status says {wanted}"), || async {
            let listeners = self.clusters().get("c").await.unwrap().status?.listeners;
            let of = listeners.into_iter().find(|listener| listener.name == "out")?;
            (of.bootstrap_servers.as_deref() == Some(wanted)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_learn_their_node_ports_and_keep_them() {
    let _alone = EVERYWHERE.write().await;
    let stage = Stage::new().await;
    stage.grant_everywhere().await;
    let operator = stage.operator().await;
    stage.declare("c", spec("NodePort")).await.unwrap();
    stage.pods("c", &["c-a-0", "c-a-1"]).await;
    let message = stage.condition("c", "Insecure", "True", "ListenerInsecure").await;
    assert!(message.contains("listener out"), "{message}");
    let ports = [stage.node_port("c-out").await, stage.node_port("c-out-0").await, stage.node_port("c-out-1").await];
    assert!(ports.iter().all(|port| *port > 0), "{ports:?}");
    let uid = stage.objects(Kind::Pod).get("c-a-0").await.unwrap().uid();

    // Broker 0 runs on a node that may be read, broker 1 on one that is known by its Pod only.
    let nodes: Api<Node> = Api::all(stage.client.clone());
    let node = format!("node-{}", stage.namespace);
    let object = serde_json::from_value(json!({"metadata": {"name": node}})).unwrap();
    nodes.create(&PostParams::default(), &object).await.unwrap();
    let addresses =
        json!([{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "ExternalIP", "address": "192.0.2.1"}]);
    let patch = Patch::Merge(json!({"status": {"addresses": addresses}}));
    nodes.patch_status(&node, &PatchParams::default(), &patch).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let binding: Binding =
        serde_json::from_value(json!({"metadata": {"name": "c-a-0"}, "target": {"kind": "Node", "name": node}}))
            .unwrap();
    let _bound: Value = pods.create_subresource("binding", "c-a-0", &PostParams::default(), &binding).await.unwrap();
    let at = |ip: &str| json!({"hostIP": ip, "hostIPs": [{"ip": ip}]});
    stage.patch_status(Kind::Pod, "c-a-0", at("10.0.0.1")).await;
    stage.patch_status(Kind::Pod, "c-a-1", at("10.0.0.2")).await;
    stage.advertises("c-a-0", &format!("OUT://192.0.2.1:{}", ports[1])).await;
    stage.advertises("c-a-1", &format!("OUT://10.0.0.2:{}", ports[2])).await;
    let servers = format!("192.0.2.1:{0},10.0.0.2:{0}", ports[0]);
    stage.listener(&servers).await;
    let client = stage.objects(Kind::ConfigMap).get("c-client").await.unwrap();
    assert_eq!(client.data["data"]["out.bootstrap.servers"], json!(servers));
    let namespace = &stage.namespace;
    assert_eq!(client.data["data"]["bootstrap.servers"], json!(format!("c-bootstrap.{namespace}.svc:9092")));

    // What others put on a Service stays, and a node port stays whatever is written.
    stage.edit(Kind::Service, "c-out-1", json!({"metadata": {"annotations": {"mine": "x"}}})).await;
    stage.edit(Kind::Service, "c-out-1", json!({"spec": {"externalTrafficPolicy": "Cluster"}})).await;
    until("the policy is put back", || async {
        let service = stage.objects(Kind::Service).get("c-out-1").await.unwrap();
        (service.data["spec"]["externalTrafficPolicy"] == "Local").then_some(())
    })
    .await;
    turns(&stage, &operator, 3).await;
    let service = stage.objects(Kind::Service).get("c-out-1").await.unwrap();
    assert_eq!((service.annotations()["mine"].as_str(), service.annotations()["who"].as_str()), ("x", "b1"));
    let again = [stage.node_port("c-out").await, stage.node_port("c-out-0").await, stage.node_port("c-out-1").await];
    assert_eq!(again, ports);
    assert_eq!(stage.objects(Kind::Pod).get("c-a-0").await.unwrap().uid(), uid, "no broker was restarted");
    operator.stop().await;
    nodes.delete(&node, &DeleteParams::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn load_balancers_are_waited_for_and_a_listener_leaves_nothing() {
    let _alone = EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let operator = stage.operator().await;
    stage.declare("c", spec("LoadBalancer")).await.unwrap();
    stage.pods("c", &["c-a-0", "c-a-1"]).await;
    let all = ["c-out", "c-out-0", "c-out-1"];
    stage.serve("c-a-0").await;
    stage.serve("c-a-1").await;
    let message = stage.condition("c", "Reconciling", "True", "ListenerPending").await;
    assert!(message.contains("c-out, c-out-0, c-out-1"), "{message}");
    stage.condition("c", "Ready", "True", "BrokersReady").await;
    for (service, ingress) in [
        ("c-out", json!({"hostname": "lb.example.org"})),
        ("c-out-0", json!({"ip": "192.0.2.10", "ipMode": "VIP"})),
        ("c-out-1", json!({"ip": "2001:db8::1", "ipMode": "VIP"})),
    ] {
        stage.patch_status(Kind::Service, service, json!({"loadBalancer": {"ingress": [ingress]}})).await;
    }
    stage.advertises("c-a-0", "OUT://192.0.2.10:9094").await;
    stage.advertises("c-a-1", "OUT://[2001:db8::1]:9094").await;
    stage.listener("lb.example.org:9094").await;
    stage.condition("c", "Reconciling", "False", "AsDeclared").await;
    // An address that changes is told as well.
    let other = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.11", "ipMode": "VIP"}]}});
    stage.patch_status(Kind::Service, "c-out-0", other).await;
    stage.advertises("c-a-0", "OUT://192.0.2.11:9094").await;

    stage.declare("c", json!({"pools": pools(2)})).await.unwrap();
    for service in all {
        until(&format!("{service} is gone"), || async {
            is_absent(&stage, Kind::Service, service).await.then_some(())
        })
        .await;
    }
    operator.stop().await;
}
