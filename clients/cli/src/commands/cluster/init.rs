//! `ottla cluster init`: the metadata of a new cluster, in Kubernetes.

use serde::Serialize;

use crate::context::Context;
use crate::failure::{Exit, Failure, Result};
use crate::output::Show;

pub(crate) async fn run(cx: &Context, args: &ottla_dev::InitArgs) -> Result<()> {
    let done = ottla_dev::init(args).await.map_err(|error| Failure::new(Exit::Failed, format!("{error:#}")))?;
    cx.print(&Initialized { name: args.name.clone(), id: done.id, created: done.created })
}

#[derive(Debug, Serialize)]
struct Initialized {
    name: String,
    id: String,
    created: bool,
}

impl Show for Initialized {
    fn table(&self) -> String {
        let done = if self.created { "created" } else { "exists already" };
        format!("Cluster {} {done}, its id is {}", self.name, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, render};

    #[test]
    fn what_was_done_is_shown() {
        let mut done = Initialized { name: "test".into(), id: "MkU3OEVBNTcwNTJENDM2Qg".into(), created: true };
        assert_eq!(done.table(), "Cluster test created, its id is MkU3OEVBNTcwNTJENDM2Qg");
        done.created = false;
        assert_eq!(done.table(), "Cluster test exists already, its id is MkU3OEVBNTcwNTJENDM2Qg");
        for format in [Format::Json, Format::Yaml] {
            insta::assert_snapshot!(format!("cluster_init_{format:?}"), render(format, &done).unwrap());
        }
    }
}
