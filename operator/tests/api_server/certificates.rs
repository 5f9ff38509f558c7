//! Certificates: who gets them, and an authority that is replaced while operators are killed.

use k8s_openapi::ByteString;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use ottla_operator::cluster::kind::Kind;
use serde_json::json;

use super::stage::{Stage, pools, until};

/// A value of a Secret.
async fn value(stage: &Stage, secret: &str, key: &str) -> String {
    let found = stage.objects(Kind::Secret).get(secret).await.unwrap();
    let bytes: ByteString = serde_json::from_value(found.data["data"][key].clone()).unwrap();
    String::from_utf8(bytes.0).unwrap()
}

/// Removes Pods whose deletion was begun and not finished, as Kubernetes' collector of garbage does: a request to delete one
/// that no node has takes two steps, and whoever sent it may be killed between them.
async fn collect_garbage(stage: &Stage) {
    let pods = stage.objects(Kind::Pod);
    for pod in pods.list(&ListParams::default()).await.unwrap() {
        if pod.metadata.deletion_timestamp.is_some() {
            let _there_or_not = pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await;
        }
    }
}

async fn believed(stage: &Stage) -> (String, usize) {
    let bundle = value(stage, "c-ca-cert", "ca.crt").await;
    let count = bundle.matches("BEGIN CERTIFICATE").count();
    (bundle, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_is_replaced_wherever_operators_are_killed() {
    let _alone = super::EVERYWHERE.read().await;
    let stage = Stage::new().await;
    let operator = stage.operator().await;
    stage.declare("c", json!({"pools": pools(3)})).await.unwrap();
    stage.pods("c", &["c-a-0", "c-a-1", "c-a-2"]).await;
    stage.condition("c", "CertificatesValid", "True", "CertificatesCurrent").await;
    let all = ["c-a-0-cert", "c-a-1-cert", "c-a-2-cert", "c-ca", "c-ca-cert", "c-operator-cert"];
    assert_eq!(stage.names(Kind::Secret, "c").await, all);
    let pod = stage.objects(Kind::Pod).get("c-a-1").await.unwrap();
    assert!(pod.data["spec"]["volumes"].to_string().contains("\"secretName\":\"c-a-1-cert\""), "{}", pod.data);
    let (first, count) = believed(&stage).await;
    assert_eq!(count, 1);
    // Pods never start here and say nothing: they are waited for.
    stage.annotate("c", json!({"ottla.dev/rotate-ca": "one"})).await;
    let message = stage.condition("c", "CertificatesValid", "True", "AuthorityRotating").await;
    assert!(message.starts_with("1/3: broker(s) 0, 1, 2 do not say yet"), "{message}");
    stage.hears("Cluster", "c", "Normal RotationBegun", 1).await;
    until("both are believed", || async { (believed(&stage).await.1 == 2).then_some(()) }).await;
    assert_eq!(value(&stage, "c-a-2-cert", "ca.crt").await, believed(&stage).await.0);
    operator.stop().await;
    // Who sleeps is not waited for.
    stage.annotate("c", json!({"ottla.dev/hibernate": "true"})).await;
    for writes in 1..8 {
        let operator = stage.operator().await;
        let wrote = || async {
            collect_garbage(&stage).await;
            let wrote = operator.metric("ottla_operator_api_writes").await;
            let (leads, (_, count)) = (operator.leads().await, believed(&stage).await);
            eprintln!("{wrote} of {writes}, leads: {leads}, believed: {count}");
            (wrote >= f64::from(writes) || count == 1).then_some(())
        };
        until("some writes", wrote).await;
        operator.kill();
        let _there_or_not = stage.objects(Kind::Lease).delete("ottla-operator", &DeleteParams::default()).await;
    }
    collect_garbage(&stage).await;
    let operator = stage.operator().await;
    stage.condition("c", "CertificatesValid", "True", "CertificatesCurrent").await;
    let (last, count) = believed(&stage).await;
    assert!(count == 1 && last != first, "{last}");
    for holder in ["c-a-0-cert", "c-a-1-cert", "c-a-2-cert", "c-operator-cert"] {
        assert_eq!(value(&stage, holder, "ca.crt").await, last);
    }
    operator.stop().await;
}
