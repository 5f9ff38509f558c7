//! A whole cluster in one process, from the YAML that Kubernetes takes.
