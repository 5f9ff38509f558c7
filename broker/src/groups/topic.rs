//! `__consumer_offsets`, created when the first group is looked for.

use super::place::OFFSETS_TOPIC;
use crate::controller;

/// Has the controller create the topic, with the settings that it gives to it. Somebody else's creation is as good.
pub(super) async fn create(controller: &controller::Handle) {
    for (name, error) in controller.create_on_demand(vec![OFFSETS_TOPIC.to_owned()]).await {
        tracing::warn!(topic = name, %error, "create topic");
    }
}
