//! The Kubernetes resources that users write, typed.
