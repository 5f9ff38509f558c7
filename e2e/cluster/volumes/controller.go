// Volumes as wholes: a file for each, made and removed on the node that the first pod was given.
//
// It must never remove or change a file for a name that is not a volume's, and never make a volume that holds less than
// was asked for.

package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	mebibyte = 1 << 20
	// XFS has no room for its log in less.
	leastBytes = 64 * mebibyte
	blockBytes = 4096
)

// What csi-provisioner calls a volume. It is a file's name: nothing else is taken.
var volumeName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9-]{0,127}$`)

type controller struct {
	csi.UnimplementedControllerServer
	files, node string
}

// pathOf is the file of a volume, or INVALID_ARGUMENT for a name that is none.
func pathOf(files, id string) (string, error) {
	if !volumeName.MatchString(id) {
		return "", status.Errorf(codes.InvalidArgument, "%q is no name of a volume", id)
	}
	return filepath.Join(files, id), nil
}

// sizeOf is how many bytes a volume gets: what was asked for in whole blocks, or OUT_OF_RANGE if that is above the limit.
func sizeOf(asked *csi.CapacityRange) (int64, error) {
	bytes := max(asked.GetRequiredBytes(), leastBytes)
	bytes = (bytes + blockBytes - 1) / blockBytes * blockBytes
	if limit := asked.GetLimitBytes(); limit > 0 && bytes > limit {
		return 0, status.Errorf(codes.OutOfRange, "a volume of %d bytes is above the limit of %d", bytes, limit)
	}
	return bytes, nil
}

// checkUse refuses what a volume of one node cannot be.
func checkUse(capabilities []*csi.VolumeCapability) error {
	if len(capabilities) == 0 {
		return status.Error(codes.InvalidArgument, "nothing says how the volume is to be used")
	}
	for _, one := range capabilities {
		if one.GetMount() == nil {
			return status.Error(codes.InvalidArgument, "only volumeMode Filesystem is there")
		}
		switch one.GetAccessMode().GetMode() {
		case csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER,
			csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER,
			csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER:
		default:
			return status.Errorf(codes.InvalidArgument, "%v: a volume is on one node, ask for ReadWriteOnce", one.GetAccessMode().GetMode())
		}
	}
	return nil
}

func (c *controller) CreateVolume(_ context.Context, request *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if c.node == "" {
		return nil, status.Error(codes.FailedPrecondition, "this driver belongs to no node")
	}
	path, err := pathOf(c.files, request.GetName())
	if err != nil {
		return nil, err
	}
	if err := checkUse(request.GetVolumeCapabilities()); err != nil {
		return nil, err
	}
	if request.GetVolumeContentSource() != nil {
		return nil, status.Error(codes.InvalidArgument, "there are no snapshots and no clones")
	}
	bytes, err := sizeOf(request.GetCapacityRange())
	if err != nil {
		return nil, err
	}
	if found, err := os.Stat(path); err == nil {
		if found.Size() != bytes {
			return nil, status.Errorf(codes.AlreadyExists, "%s is there with %d bytes", request.GetName(), found.Size())
		}
	} else if err := makeVolume(path, bytes); err != nil {
		return nil, status.Errorf(codes.Internal, "make %s: %v", request.GetName(), err)
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId: request.GetName(), CapacityBytes: bytes,
		AccessibleTopology: []*csi.Topology{{Segments: map[string]string{topologyKey: c.node}}},
	}}, nil
}

func (c *controller) DeleteVolume(_ context.Context, request *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	path, err := pathOf(c.files, request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, status.Errorf(codes.Internal, "remove %s: %v", request.GetVolumeId(), err)
	}
	return &csi.DeleteVolumeResponse{}, nil
}

func (c *controller) ValidateVolumeCapabilities(_ context.Context, request *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	path, err := pathOf(c.files, request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, status.Errorf(codes.NotFound, "there is no volume %s here", request.GetVolumeId())
	}
	if err := checkUse(request.GetVolumeCapabilities()); err != nil {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: err.Error()}, nil
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeCapabilities: request.GetVolumeCapabilities(),
	}}, nil
}

func (c *controller) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	var found []*csi.ControllerServiceCapability
	for _, kind := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		rpc := &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: kind}}
		found = append(found, &csi.ControllerServiceCapability{Type: rpc})
	}
	return &csi.ControllerGetCapabilitiesResponse{Capabilities: found}, nil
}
