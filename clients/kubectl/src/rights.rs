//! Rights: what each verb asks of the API server, so that a refusal names the rule that is missing.
//!
//! Owns the list. docs/how-to/kubectl-plugin.md shows all of it as roles; a test holds the two together.

use std::fmt;

/// One thing that somebody must be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) verb: &'static str,
    pub(crate) group: &'static str,
    pub(crate) resource: &'static str,
}

const fn right(verb: &'static str, group: &'static str, resource: &'static str) -> Right {
    Right { verb, group, resource }
}

pub(crate) const GET_CLUSTERS: Right = right("get", ottla_crds::GROUP, "clusters");
pub(crate) const LIST_CLUSTERS: Right = right("list", ottla_crds::GROUP, "clusters");
pub(crate) const PATCH_CLUSTERS: Right = right("patch", ottla_crds::GROUP, "clusters");
pub(crate) const GET_TOPICS: Right = right("get", ottla_crds::GROUP, "topics");
pub(crate) const LIST_TOPICS: Right = right("list", ottla_crds::GROUP, "topics");
pub(crate) const PATCH_TOPICS: Right = right("patch", ottla_crds::GROUP, "topics");
pub(crate) const LIST_PODS: Right = right("list", "", "pods");
pub(crate) const PATCH_PODS: Right = right("patch", "", "pods");
pub(crate) const READ_LOGS: Right = right("get", "", "pods/log");
/// WebSockets begin with a GET; from Kubernetes 1.35 on the API server asks for `create` as well.
pub(crate) const EXEC: Right = right("create", "", "pods/exec");
/// As [`EXEC`].
pub(crate) const PORT_FORWARD: Right = right("create", "", "pods/portforward");

impl Right {
    /// The resource as kubectl spells it.
    fn name(&self) -> String {
        if self.group.is_empty() { self.resource.to_owned() } else { format!("{}.{}", self.resource, self.group) }
    }

    /// The rule of a Role that gives it.
    pub(crate) fn rule(&self) -> String {
        // The upgrade to a WebSocket is a GET.
        let verbs = if self.verb == "create" { "\"get\", \"create\"".to_owned() } else { format!("\"{}\"", self.verb) };
        format!("{{apiGroups: [\"{}\"], resources: [\"{}\"], verbs: [{verbs}]}}", self.group, self.resource)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Deserialize;

    use super::*;
    use crate::report::LISTED;

    #[derive(Deserialize)]
    struct Role {
        rules: Vec<Rule>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Rule {
        api_groups: Vec<String>,
        resources: Vec<String>,
        verbs: Vec<String>,
    }

    /// What the roles of the page give, together.
    fn documented() -> BTreeSet<(String, String, String)> {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/how-to/kubectl-plugin.md");
        let text = std::fs::read_to_string(page).unwrap();
        let yaml = text.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
        let roles = yaml.split("---\n").map(|role| serde_yaml::from_str::<Role>(role).unwrap());
        let mut given = BTreeSet::new();
        for rule in roles.flat_map(|role| role.rules) {
            for (group, resource) in rule.api_groups.iter().flat_map(|g| rule.resources.iter().map(move |r| (g, r))) {
                given.extend(rule.verbs.iter().map(|verb| (verb.clone(), group.clone(), resource.clone())));
            }
        }
        given
    }

    #[test]
    fn every_right_that_a_verb_needs_is_documented() {
        let given = documented();
        let rights = [
            GET_CLUSTERS,
            LIST_CLUSTERS,
            PATCH_CLUSTERS,
            GET_TOPICS,
            LIST_TOPICS,
            PATCH_TOPICS,
            LIST_PODS,
            PATCH_PODS,
            READ_LOGS,
            EXEC,
            PORT_FORWARD,
        ];
        let listed = LISTED.iter().map(|kind| ("list", kind.group, kind.plural));
        for (verb, group, resource) in rights.iter().map(|one| (one.verb, one.group, one.resource)).chain(listed) {
            let wanted = (verb.to_owned(), group.to_owned(), resource.to_owned());
            assert!(given.contains(&wanted), "{wanted:?} is not in {given:?}");
        }
        let names_secrets = given.iter().any(|(_, _, resource)| resource == "secrets" || resource == "*");
        assert!(!names_secrets, "nobody needs to read a Secret");
    }

    #[test]
    fn a_rule_can_be_pasted() {
        assert_eq!(PATCH_TOPICS.rule(), r#"{apiGroups: ["ottla.dev"], resources: ["topics"], verbs: ["patch"]}"#);
        assert_eq!(EXEC.rule(), r#"{apiGroups: [""], resources: ["pods/exec"], verbs: ["get", "create"]}"#);
        assert_eq!(PATCH_TOPICS.to_string(), "patch topics.ottla.dev");
    }
}
