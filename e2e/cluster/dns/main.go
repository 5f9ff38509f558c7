// CoreDNS for e2e/cluster: its own program with the plugins that add-ons/dns.yaml names, and no other. All of them together
// bring the libraries of three clouds, which take longer to compile than Kubernetes.
//
// Owns nothing: what it does is CoreDNS.
package main

import (
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/ready"
)

func main() {
	coremain.Run()
}
