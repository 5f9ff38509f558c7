//! `ottla.log.level` acts at run time, whoever changes it, and DescribeConfigs says what is in force.

#[path = "support/configs.rs"]
mod configs;
#[expect(dead_code, reason = "this file needs a part of it")]
#[path = "support/peer.rs"]
mod peer;

use std::time::Duration;

use configs::{BROKER, alter, described};
use ottla_broker::logging::{self, Format};
use ottla_wire::ErrorCode;
use ottla_wire::messages::AlterConfigsRequest;
use ottla_wire::messages::alter_configs_request as whole;
use peer::{Peer, address, soon, start, with};

const KEY: &str = "ottla.log.level";

async fn becomes(level: &str) {
    soon(&format!("level {level}"), async {
        while logging::level() != level {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_level_follows_the_configuration() {
    logging::start(Format::Text, "warn").expect("a level");
    let directory = tempfile::tempdir().unwrap();
    let broker = start(directory.path(), &[(KEY, "warn")]).await;
    let mut peer = Peer::connect(address(&broker)).await;
    assert_eq!(described(&mut peer, KEY).await, (Some("warn".to_owned()), 4), "as its file has it");

    assert_eq!(alter(&mut peer, KEY, Some("error")).await, ErrorCode::NONE);
    becomes("error").await;
    assert_eq!(described(&mut peer, KEY).await, (Some("error".to_owned()), 2), "set at run time for this broker");

    assert_eq!(alter(&mut peer, KEY, Some("loud")).await, ErrorCode::INVALID_REQUEST);
    assert_eq!(described(&mut peer, KEY).await.0.as_deref(), Some("error"));

    let config = with(|config: &mut whole::AlterableConfig| {
        config.name = KEY.to_owned();
        config.value = Some("error,ottla_log=warn".to_owned());
    });
    let resource = with(|resource: &mut whole::AlterConfigsResource| {
        resource.resource_type = BROKER;
        resource.resource_name = "1".to_owned();
        resource.configs = vec![config];
    });
    let request = with(|request: &mut AlterConfigsRequest| request.resources = vec![resource]);
    assert_eq!(peer.ask(&request, 2).await.responses[0].error_code, 0);
    soon("filter", async {
        while !logging::level().contains("ottla_log=warn") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;

    // What was set outlives a restart of the broker, and going back to the file is a change like any other.
    soon("stop", broker.stop()).await;
    logging::set_level("warn").expect("a level");
    let broker = start(directory.path(), &[(KEY, "warn")]).await;
    soon("filter", async {
        while !logging::level().contains("ottla_log=warn") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let mut peer = Peer::connect(address(&broker)).await;
    assert_eq!(alter(&mut peer, KEY, None).await, ErrorCode::NONE);
    becomes("warn").await;
    assert_eq!(described(&mut peer, KEY).await, (Some("warn".to_owned()), 4));
    soon("stop", broker.stop()).await;

    // A file that changes while the broker runs is followed from the start on.
    let file = directory.path().join("dynamic.properties");
    std::fs::write(&file, format!("{KEY}=error")).unwrap();
    let broker = start(directory.path(), &[(KEY, "warn"), ("ottla.dynamic.config.file", file.to_str().unwrap())]).await;
    becomes("error").await;
    std::fs::write(&file, "# as nobody sets it").unwrap();
    becomes("info").await;
    soon("stop", broker.stop()).await;
}
