//! DescribeGroups and ListGroups: groups as administrators see them, once their first record is committed.

use super::error::Error;
use super::member::Member;
use super::message::{Described, DescribedMember, List, Listed, Reply};
use super::state::Group;
use super::words::{GroupId, State, Token};
use super::{Effects, Shard};

/// The only group type so far, as ListGroups version 5 filters by it.
const CLASSIC: &str = "classic";

impl Shard {
    pub(super) fn on_describe(&mut self, token: Token, id: &GroupId, out: &mut Effects) {
        let group = self.groups.get(id).filter(|group| group.committed);
        let described = group.map(describe).ok_or(Error::GroupIdNotFound);
        out.reply(token, Reply::Describe(described));
    }

    pub(super) fn on_list(&mut self, token: Token, list: &List, out: &mut Effects) {
        let passes = |filter: &[String], name: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        let shown = self.groups.values().filter(|group| {
            group.committed && passes(&list.types, CLASSIC) && passes(&list.states, group.state.name())
        });
        let listed = shown.map(|group| Listed {
            group: group.id.clone(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            state: group.state,
        });
        out.reply(token, Reply::List(Ok(listed.collect())));
    }
}

/// Subscriptions are told only while they are those of the present protocol.
fn describe(group: &Group) -> Described {
    let protocol = group.protocol.as_deref().filter(|_| group.state == State::Stable);
    let member = |member: &Member| DescribedMember {
        member: member.id.clone(),
        instance: member.instance.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        metadata: member.metadata(protocol),
        assignment: member.assignment.clone(),
    };
    Described {
        state: group.state,
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        protocol: protocol.unwrap_or_default().to_owned(),
        members: group.members.values().map(member).collect(),
    }
}
