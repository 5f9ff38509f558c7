# Source this: points kubectl, and everything else that reads KUBECONFIG, at the cluster that up.sh started.
cluster_env=$(python3 "$(dirname "${BASH_SOURCE[0]}")/runner" env) || return 1
eval "$cluster_env"
unset cluster_env
