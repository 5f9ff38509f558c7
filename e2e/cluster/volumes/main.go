// Volumes of e2e/cluster: a CSI driver whose volumes are file systems of their own, each in a file of its node, so that
// they really fill, really grow while they are mounted, and stay where they are when their node is gone.
//
// Owns the folder --files of its node, one file a volume, and what it mounts for kubelet. It is for clusters that are
// made for tests: it must never touch a file or a device that is not a volume of its own, and it keeps no state
// beside the files.
//
// It runs on every node (with --node, it also registers itself with kubelet), and once more beside csi-resizer, which
// only asks what it can do.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

const (
	driverName = "volumes.e2e.ottla.dev"
	// The label by which a volume is tied to its node.
	topologyKey = driverName + "/node"
	version     = "1"
)

func main() {
	socket := flag.String("socket", "/csi/csi.sock", "where to serve CSI")
	files := flag.String("files", "/files", "the folder that holds a file for each volume")
	node := flag.String("node", "", "the name of this node; without it, no volume is made")
	register := flag.String("register", "", "kubelet's folder of plugins that want to be known, with --node")
	kubelet := flag.String("kubelet-socket", "", "the socket as kubelet sees it, with --register")
	flag.Parse()

	server := grpc.NewServer(grpc.UnaryInterceptor(logged))
	csi.RegisterIdentityServer(server, identity{})
	csi.RegisterControllerServer(server, &controller{files: *files, node: *node})
	// csi-resizer asks this one, too, whether volumes grow; kubelet only knows of it where it is registered.
	csi.RegisterNodeServer(server, &nodeServer{files: *files, node: *node})
	if *register != "" {
		known := grpc.NewServer()
		registration.RegisterRegistrationServer(known, registrar{endpoint: *kubelet})
		go serve(known, filepath.Join(*register, driverName+"-reg.sock"))
	}
	serve(server, *socket)
}

// serve answers at a socket until the process ends; what an earlier process left there is replaced.
func serve(server *grpc.Server, socket string) {
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		log.Fatalf("remove %s: %v", socket, err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		log.Fatalf("listen at %s: %v", socket, err)
	}
	log.Fatal(server.Serve(listener))
}

// logged writes one line for each request that fails: the rest is in the events of the claim.
func logged(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	answer, err := handle(ctx, request)
	if err != nil {
		log.Printf("%s: %v", info.FullMethod, err)
	}
	return answer, err
}

// registrar tells kubelet that there is a driver, and where.
type registrar struct {
	registration.UnimplementedRegistrationServer
	endpoint string
}

func (r registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: driverName, Endpoint: r.endpoint, SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (r registrar) NotifyRegistrationStatus(_ context.Context, status *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if !status.PluginRegistered {
		log.Printf("kubelet refuses the driver: %s", status.Error)
	}
	return &registration.RegistrationStatusResponse{}, nil
}

type identity struct {
	csi.UnimplementedIdentityServer
}

func (identity) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: driverName, VendorVersion: version}, nil
}

func (identity) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	service := func(kind csi.PluginCapability_Service_Type) *csi.PluginCapability {
		return &csi.PluginCapability{Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{Type: kind}}}
	}
	online := &csi.PluginCapability_VolumeExpansion{Type: csi.PluginCapability_VolumeExpansion_ONLINE}
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{
		service(csi.PluginCapability_Service_CONTROLLER_SERVICE),
		service(csi.PluginCapability_Service_VOLUME_ACCESSIBILITY_CONSTRAINTS),
		{Type: &csi.PluginCapability_VolumeExpansion_{VolumeExpansion: online}},
	}}, nil
}

func (identity) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{}, nil
}
