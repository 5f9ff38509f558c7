// Volumes on their node: mounted for kubelet, shown to pods, grown while they are in use.
//
// A volume is mounted once, where kubelet stages it; pods get that mount bound into theirs. Every call may be repeated.

package main

import (
	"context"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type nodeServer struct {
	csi.UnimplementedNodeServer
	files, node string
}

func (n *nodeServer) NodeStageVolume(_ context.Context, request *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	path, err := pathOf(n.files, request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	if err := checkUse([]*csi.VolumeCapability{request.GetVolumeCapability()}); err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, status.Errorf(codes.NotFound, "there is no volume %s on %s", request.GetVolumeId(), n.node)
	}
	target := request.GetStagingTargetPath()
	if source, err := mountedFrom(target); err != nil || source != "" {
		return &csi.NodeStageVolumeResponse{}, err
	}
	if err := os.MkdirAll(target, 0o750); err != nil {
		return nil, status.Errorf(codes.Internal, "make %s: %v", target, err)
	}
	if err := mountVolume(path, target); err != nil {
		return nil, status.Errorf(codes.Internal, "mount %s: %v", request.GetVolumeId(), err)
	}
	return &csi.NodeStageVolumeResponse{}, nil
}

func (n *nodeServer) NodeUnstageVolume(_ context.Context, request *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	return &csi.NodeUnstageVolumeResponse{}, unmount(request.GetStagingTargetPath())
}

func (n *nodeServer) NodePublishVolume(_ context.Context, request *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	target := request.GetTargetPath()
	if source, err := mountedFrom(target); err != nil || source != "" {
		return &csi.NodePublishVolumeResponse{}, err
	}
	if err := os.MkdirAll(target, 0o750); err != nil {
		return nil, status.Errorf(codes.Internal, "make %s: %v", target, err)
	}
	if err := unix.Mount(request.GetStagingTargetPath(), target, "", unix.MS_BIND, ""); err != nil {
		return nil, status.Errorf(codes.Internal, "bind %s to %s: %v", request.GetStagingTargetPath(), target, err)
	}
	if request.GetReadonly() {
		if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return nil, status.Errorf(codes.Internal, "make %s read-only: %v", target, err)
		}
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func (n *nodeServer) NodeUnpublishVolume(_ context.Context, request *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	target := request.GetTargetPath()
	if err := unmount(target); err != nil {
		return nil, err
	}
	if err := os.Remove(target); err != nil && !os.IsNotExist(err) {
		return nil, status.Errorf(codes.Internal, "remove %s: %v", target, err)
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

func (n *nodeServer) NodeExpandVolume(_ context.Context, request *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	path, err := pathOf(n.files, request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	bytes, err := sizeOf(request.GetCapacityRange())
	if err != nil {
		return nil, err
	}
	device, err := mountedFrom(request.GetVolumePath())
	if err != nil {
		return nil, err
	}
	if device == "" {
		return nil, status.Errorf(codes.NotFound, "%s is not mounted at %s", request.GetVolumeId(), request.GetVolumePath())
	}
	if err := growVolume(path, device, request.GetVolumePath(), bytes); err != nil {
		return nil, status.Errorf(codes.Internal, "grow %s: %v", request.GetVolumeId(), err)
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: bytes}, nil
}

func (n *nodeServer) NodeGetVolumeStats(_ context.Context, request *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	var found unix.Statfs_t
	if err := unix.Statfs(request.GetVolumePath(), &found); err != nil {
		return nil, status.Errorf(codes.NotFound, "look at %s: %v", request.GetVolumePath(), err)
	}
	block := found.Bsize
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{
		{
			Unit: csi.VolumeUsage_BYTES, Total: int64(found.Blocks) * block, Available: int64(found.Bavail) * block,
			Used: int64(found.Blocks-found.Bfree) * block,
		},
		{
			Unit: csi.VolumeUsage_INODES, Total: int64(found.Files), Available: int64(found.Ffree),
			Used: int64(found.Files - found.Ffree),
		},
	}}, nil
}

func (n *nodeServer) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	var found []*csi.NodeServiceCapability
	for _, kind := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
		csi.NodeServiceCapability_RPC_EXPAND_VOLUME,
		csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
		csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER,
	} {
		rpc := &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: kind}}
		found = append(found, &csi.NodeServiceCapability{Type: rpc})
	}
	return &csi.NodeGetCapabilitiesResponse{Capabilities: found}, nil
}

func (n *nodeServer) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{
		NodeId: n.node, AccessibleTopology: &csi.Topology{Segments: map[string]string{topologyKey: n.node}},
	}, nil
}
